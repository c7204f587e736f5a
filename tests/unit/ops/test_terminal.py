"""Keys, causes and captures are untrusted; a terminal shows them as plain text."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from data_prep.terminal import print_whole, visible
from ops import lineage
from ops.lineage import Lineage, Model
from tests.unit.ops.conftest import Writer, capture_line, run

# Clears the screen, writes over the line, turns its order around, and looks like rich's markup
HOSTILE = "\x1b[2J\r\x9b31m\u202eevil\u2066\u200b\n[red]all clear[/red]"
SHOWN = "\\u001b[2J\\u000d\\u009b31m\\u202eevil\\u2066\\u200b\\u000a[red]all clear[/red]"
Output = pytest.CaptureFixture[str]


def without_wraps(text: str) -> str:
    return "".join(line.strip() for line in text.splitlines())


def test_no_character_that_moves_hides_or_reverses_text_is_left() -> None:
    assert visible(HOSTILE) == SHOWN
    assert visible("Fahrrad-ä 自転車.png") == "Fahrrad-ä 自転車.png"


def test_no_cell_is_cut_or_wrapped(capsys: Output) -> None:
    arn = f"arn:aws:states:us-east-1:000000000000:stateMachine:{'x' * 80}"
    table = Table("n", "name", "value", box=None, pad_edge=False)
    table.columns[0].justify = "right"
    table.add_row("1", "StateMachineArn", arn)
    table.add_row("22", "自転車", "x")
    print_whole(Console(width=40), table)
    titles, first, second = capsys.readouterr().out.splitlines()
    assert first == f" 1  StateMachineArn  {arn}"
    assert titles.index("value") == first.index(arn)
    assert second == "22  自転車           x"


def test_a_hostile_capture_is_shown_and_not_obeyed(write_captures: Writer, capsys: Output) -> None:
    hostile = json.loads(capture_line(0, 0.95))
    hostile["eventMetadata"]["eventId"] = HOSTILE
    malformed = json.dumps({"captureData": 1, "eventMetadata": {HOSTILE: 1}}).encode() + b"\x1b[2J"
    folder = write_captures(json.dumps(hostile).encode(), malformed)
    assert run("captures", "--folder", folder, "--since", "2026-11-25T08:00", "--until", "2026-11-25T12:00") == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\u202e" not in said.out + said.err


def test_a_hostile_lineage_is_shown_and_not_obeyed(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    found = Lineage("predictions/x.json", f"s3://b/{HOSTILE}", "bicycle", 0.95, "2031", (Model("s3://b/a", "2030"),))
    monkeypatch.setattr(lineage, "trace", lambda *_: found)
    lineage.lineage("predictions/x.json")
    assert SHOWN in without_wraps(capsys.readouterr().out)


def test_a_hostile_name_in_an_error_is_shown_and_not_obeyed(tmp_path: Path, capsys: Output) -> None:
    run("captures", "--folder", tmp_path / "\x1b[2J")
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\\u001b[2J" in without_wraps(said.err + said.out)
