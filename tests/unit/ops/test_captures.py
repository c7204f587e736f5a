import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.ops.conftest import Writer, capture_line, run

WINDOW = ("--since", "2026-11-25T08:00", "--until", "2026-11-25T12:00")
Output = pytest.CaptureFixture[str]


def test_every_capture_of_every_file_as_json(write_captures: Writer, capsys: Output) -> None:
    write_captures(capture_line(0, 0.95), capture_line(1, 0.875), name="a")
    folder = write_captures(capture_line(2, 0.99), name="b")
    assert run("captures", "--folder", folder, *WINDOW, "--json") == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["event_id"] for record in records] == ["event-0", "event-1", "event-2"]
    assert records[1] == {
        "time": "2026-11-25T08:01:00+00:00",
        "event_id": "event-1",
        "inference_id": "inference-1",
        "s3_key": None,  # a folder does not say
        "s3_version_id": None,
        "model": None,
        "label": "motorcycle",
        "confidence": 0.875,
        "probabilities": [0.125, 0.875],
        "accepted": False,
    }


def test_csv_has_a_column_per_class(write_captures: Writer, capsys: Output) -> None:
    folder = write_captures(capture_line(0, 0.95), capture_line(1, 0.875))
    assert run("captures", "--folder", folder, *WINDOW, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["accepted"] for row in rows] == ["true", "false"]
    assert rows[1]["motorcycle"] == "0.875"


def test_the_table_shows_the_last_and_counts_all(write_captures: Writer, capsys: Output) -> None:
    folder = write_captures(*[capture_line(number, 0.8 if number < 10 else 0.95) for number in range(50)])
    assert run("captures", "--folder", folder, *WINDOW) == 0
    shown = capsys.readouterr().out
    assert "The last 20 of 50 captures" in shown
    assert "event-29" not in shown
    assert "event-30" in shown
    assert "bicycle 50.0%, motorcycle 50.0%; mean confidence 0.920" in shown
    assert "under 0.9: 10 (20.0%)" in shown


def test_parse_errors_are_reported_and_not_fatal(write_captures: Writer, capsys: Output) -> None:
    folder = write_captures(capture_line(0, 0.95), b"{", capture_line(1, 0.95))
    assert run("captures", "--folder", folder, *WINDOW, "--json") == 0
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 2
    assert "Warning: 1 malformed lines were skipped" in output.err
    assert "scones-dev/AllTraffic/2026/11/25/08/a.jsonl, line 2: " in output.err


def test_only_the_window_is_shown(write_captures: Writer, capsys: Output) -> None:
    folder = write_captures(*[capture_line(number, 0.95) for number in range(10)])
    run("captures", "--folder", folder, "--since", "2026-11-25T08:03", "--until", "2026-11-25T08:05", "--json")
    records = [json.loads(line)["event_id"] for line in capsys.readouterr().out.splitlines()]
    assert records == ["event-3", "event-4"]


def test_all_of_a_folder_is_read_unless_a_window_is_given(write_captures: Writer, capsys: Output) -> None:
    last_year = datetime(2025, 3, 1, tzinfo=UTC)
    folder = write_captures(*[capture_line(n, 0.95, time=last_year + timedelta(days=n)) for n in range(3)])
    assert run("captures", "--folder", folder) == 0
    output = capsys.readouterr()
    assert f"{folder}, 2025-03-01 00:00 to 2025-03-03 00:00 UTC: 3 captures" in output.out
    assert output.err == ""


def test_captures_outside_the_window_are_counted_and_reported(write_captures: Writer, capsys: Output) -> None:
    last_year = datetime(2025, 3, 1, tzinfo=UTC)
    folder = write_captures(*[capture_line(n, 0.95, time=last_year + timedelta(days=n)) for n in range(3)])
    assert run("captures", "--folder", folder, "--since", "24h") == 0
    output = capsys.readouterr()
    assert output.out.endswith("UTC: no captures\n")
    assert "Outside the window: 3 captures from 2025-03-01 00:00:00 to 2025-03-03 00:00:00 UTC" in output.err
    assert run("captures", "--folder", folder, "--until", "2025-03-02", "--json") == 0
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1
    assert "Outside the window: 2 captures" in output.err


def test_the_latest_captures_are_chosen_by_time_not_by_file_name(write_captures: Writer, capsys: Output) -> None:
    # SageMaker's names begin with minutes and seconds, which say nothing of the hour
    write_captures(*[capture_line(number, 0.95) for number in range(30, 60)], name="00-a")
    folder = write_captures(*[capture_line(number, 0.95) for number in range(30)], name="59-b")
    assert run("captures", "--folder", folder) == 0
    shown = re.findall(r"event-(\d+)", capsys.readouterr().out)
    assert shown == [str(number) for number in range(40, 60)]


def test_one_file_is_read_as_well_as_a_folder(write_captures: Writer, capsys: Output) -> None:
    write_captures(capture_line(0, 0.95), name="a")
    folder = write_captures(capture_line(1, 0.95), name="b")
    assert run("captures", "--folder", next(folder.rglob("b.jsonl")), "--json") == 0
    assert [json.loads(line)["event_id"] for line in capsys.readouterr().out.splitlines()] == ["event-1"]


def test_ids_are_whole_however_narrow_the_output_is(
    write_captures: Writer, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    event_id = "0b6a2cf3-5d80-4d0e-9a43-6a2f5c1f7c11"
    line = json.loads(capture_line(0, 0.95))
    line["eventMetadata"]["eventId"] = event_id
    folder = write_captures(json.dumps(line).encode())
    assert run("captures", "--folder", folder) == 0
    assert event_id in capsys.readouterr().out


def test_a_confidence_is_never_rounded_up_to_certainty(write_captures: Writer, capsys: Output) -> None:
    folder = write_captures(*[capture_line(number, 0.99997) for number in range(30)])
    assert run("captures", "--folder", folder) == 0
    shown = capsys.readouterr().out
    assert "mean confidence 0.99997" in shown
    assert shown.count("0.99997") == 21
    assert "1.000" not in shown


def test_a_window_without_captures_is_reported(write_captures: Writer, capsys: Output) -> None:
    folder = write_captures()
    assert run("captures", "--folder", folder) == 0
    assert capsys.readouterr().out == f"{folder}: no captures\n"


def test_a_folder_that_is_not_there(capsys: Output) -> None:
    assert run("captures", "--folder", "nowhere") == 1
    assert capsys.readouterr().err.startswith("Error: nowhere: no such file or folder")


def test_the_error_for_a_folder_without_captures_says_what_is_expected(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "a.json").write_text("{}")
    assert run("captures", "--folder", tmp_path) == 1
    assert (
        capsys.readouterr().err == f"Error: {tmp_path}: there is no .jsonl file below it, as data capture writes them\n"
    )


@pytest.mark.parametrize(
    ("since", "until", "reason"),
    [
        ("yesterday", "now", "neither an age such as 24h"),
        ("1h", "2h", "before it begins"),
    ],
)
def test_a_window_that_is_none(since: str, until: str, reason: str, capsys: Output) -> None:
    assert run("captures", "--folder", ".", "--since", since, "--until", until) == 2
    assert reason in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_an_environment_that_is_not_there(capsys: Output) -> None:
    assert run("captures", "--env", "nowhere") == 1
    assert "environment 'nowhere' is not in cdk.json" in capsys.readouterr().err
