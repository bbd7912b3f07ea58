"""The TUF repository: how what was published is said, signed and written."""
