"""Keeps the desired number of tasks: replicated services, restarts, rolling updates, history."""
