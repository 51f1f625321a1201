"""Object ids as Swarm makes them: 25 characters of ``[0-9a-z]``, about 129 random bits (SWARM 1.2)."""

from __future__ import annotations

from typing import Final

ID_LENGTH: Final = 25
ID_RANDOM_BYTES: Final = 17
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    """Write a non-negative number with the digits ``0-9a-z``."""
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits)) or "0"


def make_id(random_bytes: bytes) -> str:
    """Turn 17 random bytes into an id: top bit forced on, base 36, the first character dropped."""
    if len(random_bytes) != ID_RANDOM_BYTES:
        raise ValueError(f"an id needs {ID_RANDOM_BYTES} random bytes, got {len(random_bytes)}")
    number = int.from_bytes(random_bytes, "big") | 1 << (8 * ID_RANDOM_BYTES - 1)
    return base36(number)[1 : 1 + ID_LENGTH]


def make_member_id(random_bytes: bytes) -> int:
    """Turn 8 random bytes into a Raft member id: a random positive 63-bit integer."""
    return (int.from_bytes(random_bytes, "big") >> 1) or 1
