"""The controller: finds servers, orders deployments, watches them."""
