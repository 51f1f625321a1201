"""One module per question that `commits.py` answers: each measures into plain values, and shows them."""
