"""Sessions, heartbeats and assignments of the agents."""
