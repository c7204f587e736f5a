"""The action for a saved file, for every way in which editors save."""

import os
import queue
from collections.abc import Callable
from pathlib import Path

import pytest

from local.dev.session import Meaning, meaning, saved_files


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for folder in ("lambda_src/shared", "stacks/shared", "docs", "build/pictures"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("lambda_src/shared/aws.py", "stacks/config.py", "app.py", "cdk.json"):
        (tmp_path / file).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "code", "deployment"),
    [
        ("lambda_src/__init__.py", True, False),
        ("lambda_src/shared/aws.py", True, False),
        ("stacks/config.py", False, True),
        ("stacks/classification/workflow.asl.yaml", False, True),
        ("cdk.json", False, True),
        ("app.py", False, True),
        ("README.md", False, False),
        ("docs/cdk.json", False, False),
    ],
)
def test_code_is_sent_and_all_else_that_is_deployed_is_deployed(
    source: Path, file: str, code: bool, deployment: bool
) -> None:
    asked = meaning([source / file], source=source, pictures=source / "build/pictures")
    assert asked == Meaning(code=code, deployment=deployment, pictures=())


def test_a_dropped_picture_is_uploaded_and_a_removed_one_is_not(source: Path) -> None:
    pictures = source / "build/pictures"
    dropped = pictures / "cat.png"
    dropped.write_bytes(b"")
    asked = meaning([dropped, pictures / "removed.png", pictures], source=source, pictures=pictures)
    assert asked == Meaning(code=False, deployment=False, pictures=(dropped,))


def write(path: Path) -> None:
    path.write_text("new")


def replace(path: Path) -> None:
    other = path.with_name("other~")
    other.write_text("new")
    other.replace(path)


@pytest.mark.parametrize("save", [write, replace, os.remove])
def test_every_save_by_an_editor_is_noticed(source: Path, save: Callable[[Path], None]) -> None:
    files = {source / name for name in ("lambda_src/shared/aws.py", "stacks/config.py", "cdk.json")}
    with saved_files(source, source / "build/pictures") as saved:
        for change in (save, write, save):
            for file in files:
                change(file)
            take_all(saved, files)


def take_all(saved: "queue.Queue[set[Path]]", files: set[Path]) -> None:
    noticed: set[Path] = set()
    while not files <= noticed:
        noticed |= saved.get(timeout=60)
    while not saved.empty():
        saved.get()
