from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data_prep.files import only_one


def count_up(target: Path, times: int) -> None:
    """Read, add one, write: which loses counts where two do it at once."""
    for _ in range(times):
        with only_one(target):
            target.write_text(str(int(target.read_text()) + 1))


def test_two_take_turns_and_leave_no_lock_behind(tmp_path: Path) -> None:
    """Threads, as they start sooner: a lock is of the open file, which they do not share either."""
    target = tmp_path / "count"
    target.write_text("0")
    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(count_up, target, 400) for _ in range(2)]:
            ended.result()
    assert target.read_text() == "800"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_no_lock_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk"), only_one(tmp_path / "target"):
        raise OSError("the disk is full")
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_does_not_stop_the_next(tmp_path: Path) -> None:
    (tmp_path / ".target.lock").touch()
    with only_one(tmp_path / "target"):
        assert (tmp_path / ".target.lock").exists()
    assert list(tmp_path.iterdir()) == []
