"""The lab: real systemd servers on a network of their own, for tests that need the truth."""
