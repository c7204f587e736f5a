"""The project's prose uses the words of AWS and of the field (CONTRIBUTING.md, Words)."""

import re
import subprocess
from pathlib import Path

import pytest

from stacks.config import PROJECT_ROOT

SUFFIXES = {".py", ".md", ".yaml", ".yml", ".html", ".js", ""}
# The list of words itself, and the history, whose entries stay as they were written
EXCEPT = {"CONTRIBUTING.md", "CHANGELOG.md"}
# Words that were this project's own, and those that an engineer who knows AWS expects
INSTEAD = {
    r"mend(s|ed|ing)?|put right": "fix",
    r"anew": "again, regenerate",
    r"heed(s|ed)?": "respect",
    r"let(s|ting)? go of": "orphan, release",
    r"(is|are|be|was) told of|tell(s|ing)? of": "notify, report",
    r"surest|unsure": "least confident, low confidence",
    r"right answers?|the model's answers?": "correct predictions, the model's predictions",
    r"drawn (images?|samples?|data|archives?)": "synthetic",
    r"lacks (a|the) right": "is missing the permission",
    r"takes? on (its|the|a) role|hands? over (its|the) role": "assume, pass",
    r"broke off": "interrupted",
    r"stor(y|ies)|chapters?": "scenario, phase",
    r"endings?(?! in| with)": "outcome, terminal state",
}


@pytest.fixture(scope="module")
def lines() -> dict[str, str]:
    """By file and number."""
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    paths = [Path(name) for name in listed.splitlines()]
    return {
        f"{path}:{number}": line
        for path in paths
        if path.suffix in SUFFIXES and path.parts[0] != "tests" and path.name not in EXCEPT
        for number, line in enumerate((PROJECT_ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
    }


@pytest.mark.parametrize("words", INSTEAD)
def test_no_word_of_the_projects_own_replaces_one_of_the_field(lines: dict[str, str], words: str) -> None:
    one_of_them = re.compile(rf"\b({words})\b", re.IGNORECASE)
    found = [f"{place}: {line.strip()}" for place, line in lines.items() if one_of_them.search(line)]
    assert not found, f"write {INSTEAD[words]}: {found}"
