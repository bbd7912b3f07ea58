"""Everything that agents can reach: a disposable front of the controller that holds no signing key."""
