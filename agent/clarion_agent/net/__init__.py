"""The half of the agent that faces the network; it never changes the host."""
