"""Telling people: from the log of events to an outbox, and from there out; a process of its own."""
