"""What happened, one short line each: equal seeds give equal traces, to the byte."""

from __future__ import annotations

from hashlib import blake2b

from raftswarm.raft.messages import AnyMessage


class Trace:
    """Collects lines while it is enabled; a digest of all of them comes at no extra memory."""

    def __init__(self, *, enabled: bool, keep_lines: bool = True) -> None:
        self.enabled = enabled
        self.lines: list[str] = []
        self._keep_lines = keep_lines
        self._digest = blake2b(digest_size=16)

    def record(self, now: float, text: str) -> None:
        """Add a line."""
        line = f"{now:.6f} {text}"
        self._digest.update(line.encode() + b"\n")
        if self._keep_lines:
            self.lines.append(line)

    def message(self, now: float, message: AnyMessage) -> None:
        """Add a line for a message that leaves: its kind, way and term, then what else it says."""
        said = [f"{message.sender}->{message.to} {type(message).__name__} t{message.term}"]
        for name in message.__struct_fields__:
            if name in {"sender", "to", "term"}:
                continue
            value = getattr(message, name)
            if name == "entries":
                value = [(entry.index, entry.term) for entry in value]
            if value:
                said.append(f"{name}={value}")
        self.record(now, " ".join(said))

    def digest(self) -> str:
        """Return a short name for the whole trace."""
        return self._digest.hexdigest()
