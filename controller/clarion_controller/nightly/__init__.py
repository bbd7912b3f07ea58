"""Nightly: build everything anew, servers too, and say what no longer works and since when."""
