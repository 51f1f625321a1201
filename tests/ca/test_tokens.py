"""Join tokens (SWARM 10.2)."""

from __future__ import annotations

import hashlib
from typing import Protocol

import pytest

from raftswarm.ca import check_root, make_join_token, parse_join_token, root_digest, same_token
from raftswarm.errors import InvalidToken

DIGEST, SECRET = "0" * 49 + "1", "0" * 24 + "z"


class Root(Protocol):
    certificate: str


def test_a_token_has_dockers_form_and_pins_the_root(root: Root) -> None:
    token = make_join_token(root.certificate, b"\x00" * 15 + b"\x23")

    assert len(token) == len("SWMTKN-1-") + 50 + 1 + 25
    assert token.startswith("SWMTKN-1-")
    assert token.endswith("-" + "0" * 24 + "z")
    assert parse_join_token(token).root_digest == hashlib.sha256(root.certificate.encode()).digest()


def test_the_largest_secret_fits(root: Root) -> None:
    assert parse_join_token(make_join_token(root.certificate, b"\xff" * 16)).secret == "f5lxx1zz5pnorynqglhzmsp33"


def test_tokens_of_either_version_are_read() -> None:
    for version in ("1", "2-0", "2-1"):
        token = parse_join_token(f"SWMTKN-{version}-{DIGEST}-{SECRET}")
        assert token.root_digest == b"\x00" * 31 + b"\x01"
        assert token.secret == SECRET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"SWMTKN-1-{DIGEST}",
        f"SWMTKN-1-{DIGEST}0-{SECRET}",
        f"SWMTKN-1-{DIGEST[1:]}-{SECRET}",
        f"SWMTKN-1-{DIGEST}-{SECRET}0",
        f"SWMTKN-1-{DIGEST}-{SECRET[1:]}",
        f"SWMTKN-1-{DIGEST.replace('1', 'A')}-{SECRET}",
        f"SWMTKN-1-{DIGEST[:-2]}_1-{SECRET}",
        f"SWMTKN-1-{'z' * 50}-{SECRET}",
        f"SWMTKN-3-{DIGEST}-{SECRET}",
        f"SWMTKN-2-{DIGEST}-{SECRET}",
        f"SWMTKN-1-{DIGEST}-{SECRET}\n",
        f" SWMTKN-1-{DIGEST}-{SECRET}",
    ],
)
def test_any_other_form_is_an_invalid_join_token(text: str) -> None:
    with pytest.raises(InvalidToken, match=r"^invalid join token$"):
        parse_join_token(text)


def test_only_the_whole_token_is_the_same() -> None:
    token = f"SWMTKN-1-{DIGEST}-{SECRET}"

    assert same_token(token, token)
    assert not same_token(token[:-1] + "y", token)
    assert not same_token("", token)
    assert not same_token("ö\ud800", token)


def test_a_root_that_the_token_does_not_pin_is_refused(root: Root) -> None:
    digest = root_digest(root.certificate)
    check_root(root.certificate, digest)

    with pytest.raises(InvalidToken, match=f"^remote CA does not match fingerprint. Expected: {digest.hex()}$"):
        check_root(root.certificate + "\n", digest)
