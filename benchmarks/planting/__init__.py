"""What `planted_bugs.py` is made of: patches, copies of the tree that have one, and what has to find it there."""
