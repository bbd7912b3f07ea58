"""A site's relay: the shipped configuration in a real nginx, between real agents' fetchers and a real store."""
