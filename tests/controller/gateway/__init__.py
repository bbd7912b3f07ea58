"""Tests of everything that agents can reach."""
