"""Requests and responses as data."""

from __future__ import annotations

from raftswarm.http.messages import Request, error_response, json_response


def test_a_request_knows_its_path_and_parameters() -> None:
    request = Request(method="GET", target="/a%20b?x=1&y=%7B%7D&empty=&x=2", headers=(("host", "h"),))

    assert request.path == "/a b"
    assert request.query == {"x": "1", "y": "{}", "empty": ""}
    assert request.header("host") == "h"
    assert request.header("absent") == ""


def test_answers_are_json_with_a_newline() -> None:
    assert json_response({"a": 1}).body == b'{"a":1}\n'
    assert error_response(404, "page not found").body == b'{"message":"page not found"}\n'
    assert error_response(404, "page not found").status == 404
