"""Places pending tasks on nodes."""
