"""What the controller remembers: an append-only log of events, and the tables that are read quickly."""
