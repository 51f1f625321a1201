"""Links between nodes: TLS connections, lanes between Raft members, calls with answers and streams."""
