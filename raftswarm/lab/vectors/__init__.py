"""Neutral test data about Raft, played to the shipped core: `read_vectors` reads files and folders of it."""

from raftswarm.lab.vectors.files import VectorFile, read_vectors
from raftswarm.lab.vectors.outcomes import Outcome, Verdict

__all__ = ["Outcome", "VectorFile", "Verdict", "read_vectors"]
