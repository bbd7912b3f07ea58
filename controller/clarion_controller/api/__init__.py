"""What the command line and other programs speak to: HTTP over a Unix socket."""
