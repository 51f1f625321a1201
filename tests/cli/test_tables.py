"""Columns, JSON lines and templates."""

from __future__ import annotations

import click
import pytest

from raftswarm.cli.tables import print_inspected, print_rows, render

ROWS = [{"ID": "abc", "Name": "web"}, {"ID": "d", "Name": "a-long-name"}]
COLUMNS = {"ID": "ID", "Name": "NAME"}


def test_columns_are_ten_wide_or_three_apart(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"Name": "a-long-name", "ID": "abc"}], {"Name": "NAME", "ID": "ID"}, format_=None)

    assert capsys.readouterr().out == "NAME          ID\na-long-name   abc\n"


@pytest.mark.parametrize(
    ("format_", "quiet", "output"),
    [
        (None, "ID", "abc\nd\n"),
        ("table", None, "ID        NAME\nabc       web\nd         a-long-name\n"),
        ("json", None, '{"ID":"abc","Name":"web"}\n{"ID":"d","Name":"a-long-name"}\n'),
        ("{{.Name}}: {{.ID}}", None, "web: abc\na-long-name: d\n"),
        (r"table {{.Name}}\t{{.ID}}", None, "NAME          ID\nweb           abc\na-long-name   d\n"),
    ],
)
def test_rows_are_printed_as_asked_for(
    format_: str | None, quiet: str | None, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_rows(ROWS, COLUMNS, format_=format_, quiet=quiet)

    assert capsys.readouterr().out == output


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Spec.Name}}", "web"),
        ("{{json .Spec}}", '{"Name":"web","Labels":{"a":"b"},"Ports":[80,81],"TTY":true}'),
        ("{{upper .Spec.Name}} {{ lower .Spec.Name }}", "WEB web"),
        ("{{.Spec.Labels}} {{.Spec.Ports}} {{.Spec.TTY}}", "map[a:b] [80 81] true"),
        ("{{.Nothing.Here}}", "<no value>"),
        (r"a\tb", "a\tb"),
    ],
)
def test_a_template_is_filled_in(template: str, text: str) -> None:
    value = {"Spec": {"Name": "web", "Labels": {"a": "b"}, "Ports": [80, 81], "TTY": True}}

    assert render(template, value) == text


def test_a_template_beyond_us_is_refused() -> None:
    with pytest.raises(click.UsageError, match="template parsing error"):
        render("{{range .Items}}", {})


def test_inspected_objects_keep_the_order_of_their_fields(capsys: pytest.CaptureFixture[str]) -> None:
    print_inspected([b'{"Z":1,"A":[]}\n', b'{"B":2}'], None)

    assert (
        capsys.readouterr().out
        == '[\n    {\n        "Z": 1,\n        "A": []\n    },\n    {\n        "B": 2\n    }\n]\n'
    )
