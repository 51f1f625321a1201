"""Hands out published ports and lets tasks go on to the scheduler."""
