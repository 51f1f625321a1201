"""The seam: clock, chance, disk, network and processes come in from outside, through these protocols only."""
