"""The agent: everything of Clarion that ends up on a server."""
