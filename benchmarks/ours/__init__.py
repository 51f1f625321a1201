"""Our own side of the comparison: three members and a client, a process each."""
