"""Builds from a push: announced, queued, built elsewhere, published, deployed."""
