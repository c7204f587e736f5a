"""`make help` lists all targets and variables, in lines that fit a terminal."""

import re
import subprocess

from stacks.config import PROJECT_ROOT

MAKEFILE = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")


def shown() -> list[str]:
    run = subprocess.run(["make", "help"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True, timeout=60)
    return run.stdout.splitlines()


def test_every_target_and_every_variable_is_listed() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, flags=re.MULTILINE)
    internal = {"local-cloud", "browser"}  # steps of `deploy` and `test`
    variables = re.findall(r"\$\((?:if |filter \w+,)\$\(([A-Z]+)\)", MAKEFILE)
    expected = set(phony.split()) - internal | {f"{name}=" for name in [*variables, "ENV", "PYTHON"]}
    listed = {re.sub("=.*", "=", line.split()[0]) for line in shown() if line.startswith("  ")}
    assert listed == expected


def test_a_line_fits_a_terminal_and_is_plain_text_where_it_is_none() -> None:
    assert all(line.isprintable() and len(line) <= 100 for line in shown())
