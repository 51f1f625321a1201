"""The few shapes that the lab's pictures are made of.

A file needs nothing but itself; pointing at a part tells more about it.
"""

from __future__ import annotations

from html import escape
from typing import Final

INK: Final = "#263238"
GRID: Final = "#eceff1"


def begin(width: float, height: float) -> str:
    """Begin a white picture."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>'
    )


def end() -> str:
    """End it."""
    return "</svg>"


def title(told: str) -> str:
    """Return what is told when somebody points at the part that this stands in."""
    return f"<title>{escape(told)}</title>"


def bar(x: float, y: float, width: float, height: float, colour: str, told: str, *, dashed: bool = False) -> str:
    """Draw a rectangle."""
    dashes = ' stroke="#90a4ae" stroke-dasharray="3 3"' if dashed else ""
    return (
        f'<rect x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height:g}" fill="{colour}"{dashes}>'
        f"{title(told)}</rect>"
    )


def triangle(x: float, y: float, colour: str, told: str) -> str:
    """Draw one that stands on its tip."""
    return f'<path d="M{x:.1f} {y:g}l-5 -9h10z" fill="{colour}">{title(told)}</path>'


def text(x: float, y: float, words: str, *, anchor: str = "start", ink: str = INK, size: int = 12) -> str:
    """Write."""
    return f'<text x="{x:.1f}" y="{y:g}" text-anchor="{anchor}" fill="{ink}" font-size="{size}">{escape(words)}</text>'
