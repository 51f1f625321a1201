"""Consensus without I/O: events in, work out."""
