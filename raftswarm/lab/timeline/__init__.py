"""A run at a glance: who was what when, and what befell them; as text or as a picture."""

from raftswarm.lab.timeline.drawing import draw_svg
from raftswarm.lab.timeline.events import Mark, Span, Timeline, draw_timeline
from raftswarm.lab.timeline.writing import write_text

__all__ = ["Mark", "Span", "Timeline", "draw_svg", "draw_timeline", "write_text"]
