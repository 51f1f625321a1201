"""Log, snapshots and keys on disk; plain synchronous code over `world.disk`."""
