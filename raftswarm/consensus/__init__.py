"""Drives one Raft member on trio and replicates a state machine."""
