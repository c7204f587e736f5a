import os
import subprocess

import pytest

from stacks.code_version import code_version
from stacks.config import PROJECT_ROOT


def test_it_is_gits_own_name_of_the_functions(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of the files as they are now, committed or not."""
    index = tmp_path_factory.mktemp("git") / "index"

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=PROJECT_ROOT,
            env={
                **os.environ,
                "GIT_INDEX_FILE": str(index),
                "GIT_OBJECT_DIRECTORY": str(index.parent / "objects"),
            },
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    if not (PROJECT_ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    (index.parent / "objects").mkdir()
    git("add", "lambda_src")
    assert git("write-tree", "--prefix=lambda_src/") == code_version()
