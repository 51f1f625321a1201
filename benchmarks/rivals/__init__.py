"""The rivals, each set up as it is at its best."""
