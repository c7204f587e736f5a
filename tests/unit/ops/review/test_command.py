"""The command `python -m ops review publish`."""

from pathlib import Path

import pytest

from ops.review.command import summary
from ops.review.publication import LeftOut, Publication
from tests.unit.ops.conftest import run
from tests.unit.ops.review.conftest import BUCKET, Account, pixels, png


def test_the_command_publishes_and_reports_the_result(
    account: Account, data_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    account.reviewed("a.png", 100, "bicycle")
    account.reviewed("b.png", 101, "motorcycle")
    account.reviewed("cat.png", 102, None)
    account.reviewed("[red]\u202ebad.png", b"no picture", "bicycle")
    assert run("review", "publish", "--env", "dev") == 0
    said = capsys.readouterr().out
    assert "the data set has 2 reviewed pictures" in said
    assert "Left out: 1 reviewed as neither class, 1 that cannot be trained on" in said
    assert "  incoming/[red]\\u202ebad.png: neither PNG nor JPEG" in said
    assert "Retraining starts" in said
    assert run("review", "publish", "--env", "dev") == 0
    said = capsys.readouterr().out
    assert f"s3://{BUCKET}: nothing is new; the data set has 2 reviewed pictures" in said
    assert "Retraining" not in said


def test_without_a_data_set_the_command_prints_how_to_get_one(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.reviewed("a.png", png(pixels(1)), "bicycle")
    assert run("review", "publish", "--env", "dev") == 1
    assert "upload one with `python -m data_prep upload`" in capsys.readouterr().err


def test_equal_reasons_are_one_line_and_a_retraining_that_is_off_is_named() -> None:
    left_out = tuple(LeftOut(f"s3://{BUCKET}/incoming/{n}.png", f"the same picture as test/{n}.png") for n in range(50))
    found = Publication({"train": 1, "test": 0}, 2, 3, 4, 0, left_out, "d", started=True)
    lines = summary(found, BUCKET, retrains=False)
    assert "added 1 to the training and 0 to the validation images, changed 2 labels, removed 3" in lines[0]
    assert lines[2].startswith("  50 files, incoming/0.png, incoming/1.png, incoming/2.png, ...: the same picture as")
    assert lines[3].startswith("Retraining is off for new data")
    assert len(lines) == 4
