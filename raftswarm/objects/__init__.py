"""Specs and objects of the swarm as plain data, and the parsing that several loops share."""
