"""The controller: finds servers, orders deployments, watches them."""

import clarion_protocol as clarion_protocol  # before anything loads TUF: see its lean_signers
