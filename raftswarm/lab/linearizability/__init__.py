"""Is a history linearizable? Every operation as if it took effect at one moment between its call and its answer.

`check(operations, MODELS["kv-append"])` judges what clients saw; `check_history_file(path)` what is in a file. A model
of your own object has four members: see `Model`.
"""

from raftswarm.lab.linearizability.checking import MAX_CONFIGURATIONS, Outcome, Verdict, check, model_of
from raftswarm.lab.linearizability.drawing import draw_history
from raftswarm.lab.linearizability.files import check_history_file, parse_history, read_history, write_history
from raftswarm.lab.linearizability.models import (
    MISMATCH,
    MODELS,
    Counter,
    Lock,
    Model,
    Queue,
    Register,
    Sequential,
    Set,
)
from raftswarm.lab.linearizability.narrowing import Window
from raftswarm.lab.linearizability.operations import Operation
from raftswarm.lab.linearizability.recorder import HistoryRecorder
from raftswarm.lab.linearizability.search import Stuck

__all__ = [
    "MAX_CONFIGURATIONS",
    "MISMATCH",
    "MODELS",
    "Counter",
    "HistoryRecorder",
    "Lock",
    "Model",
    "Operation",
    "Outcome",
    "Queue",
    "Register",
    "Sequential",
    "Set",
    "Stuck",
    "Verdict",
    "Window",
    "check",
    "check_history_file",
    "draw_history",
    "model_of",
    "parse_history",
    "read_history",
    "write_history",
]
