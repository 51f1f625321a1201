"""The Docker Engine API, served from what a `SwarmNode` says and does."""
