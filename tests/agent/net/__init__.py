"""Tests of the half of the agent that faces the network."""
