"""The control plane: loops that the leader runs, each a watch, a pure plan and a write."""
