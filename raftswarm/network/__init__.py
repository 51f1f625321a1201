"""The data plane: published ports on every node, spread over the tasks."""
