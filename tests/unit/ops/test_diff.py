"""`python -m ops diff`: its output, and that no template's content can falsify it."""

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ops import diff, templates
from ops.__main__ import application
from ops.diff_report import diff_report
from ops.errors import OpsError
from tests.unit.ops.small_templates import Resources, assembly, bucket, function, resource

THRESHOLD = {"F": function("F", THRESHOLD="0.9")}, {"F": function("F", THRESHOLD="0.8")}
RENAMED = {"B": bucket(BucketName="a")}, {"B": bucket(BucketName="b")}


def run(sides: tuple[Resources, Resources], monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    before, after = map(assembly, sides)
    monkeypatch.setattr(templates, "synthesize_commit", lambda _: before)
    monkeypatch.setattr(templates, "synthesize", lambda: after)
    return CliRunner().invoke(application(), ["diff", "--base", "HEAD", *options])


def markdown(before: Resources, after: Resources) -> str:
    return diff.markdown(diff_report(assembly(before), assembly(after)), against="HEAD")


@pytest.mark.parametrize(
    ("sides", "status"),
    [((THRESHOLD[0], THRESHOLD[0]), 0), (THRESHOLD, 2), (RENAMED, 3)],
    ids=["nothing", "a value", "a bucket"],
)
def test_the_exit_status_is_0_unless_asked_for_and_the_last_line_explains_it(
    sides: tuple[Resources, Resources], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(sides, monkeypatch)
    assert result.exit_code == 0, result.output
    assert run(sides, monkeypatch, "--exit-code").exit_code == status
    assert result.output.splitlines()[-1] == f"Exit status with --exit-code: {status} ({diff.STATUS})"
    help_text = re.sub(r"[\s│]+", " ", CliRunner().invoke(application(), ["diff", "--help"]).output)
    assert diff.STATUS in help_text


def test_lost_state_is_in_the_first_ten_lines_of_a_hundred_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [
        {name: resource("Events::Rule", name, {f"P{name}": value * 200}) for name in map(str, range(50))}
        for value in "ab"
    ]
    output = run(({**many[0], **RENAMED[0]}, {**many[1], **RENAMED[1]}), monkeypatch).output
    lines = output.splitlines()
    assert "REPLACES the bucket" in "\n".join(lines[:10])
    assert all(len(line) <= 100 for line in lines)
    assert len(lines) < 20
    assert "… and 47 more, see --details" in output


def test_every_value_is_shown_on_request_and_hashes_of_code_never(monkeypatch: pytest.MonkeyPatch) -> None:
    sides: tuple[Resources, Resources] = (
        {"F": function("F", "a", A="x" * 300)},
        {"F": function("F", "b", A="y" * 300)},
    )
    short, long = (run(sides, monkeypatch, *options).output for options in ((), ("--details",)))
    assert "y" * 300 not in short
    assert f"    Properties.Environment.Variables.A: {'x' * 300} → {'y' * 300}\n" in long
    assert "    Properties.Code.S3Key\n" in long
    assert "b" * 60 not in long


def test_in_a_terminal_the_summary_is_last_and_else_first(monkeypatch: pytest.MonkeyPatch) -> None:
    piped = run(THRESHOLD, monkeypatch, "--details").output
    assert piped.index("Behaviour") < piped.index("Properties.")
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal = run(RENAMED, monkeypatch, "--details").output
    assert terminal.index("Properties.") < terminal.index("Lost")
    assert "\x1b[" in terminal


def test_a_base_that_cannot_be_synthesized_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_source: Path) -> None:
        raise OpsError("`cdk synth` ended with status 1")

    monkeypatch.setattr(templates, "synthesize", broken)
    with pytest.raises(OpsError, match=r"cannot synthesize HEAD with the tools that are installed now: `cdk synth`"):
        templates.synthesize_commit("HEAD")


@pytest.mark.parametrize("revision", ["no-such-branch", "--output=/tmp/x"])
def test_a_base_that_does_not_exist_is_named(revision: str) -> None:
    with pytest.raises(OpsError, match=f"there is no commit '{revision}'"):
        templates.synthesize_commit(revision)


def test_the_base_is_where_the_branch_left_the_main_branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "PROJECT_ROOT", tmp_path)

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    def commit(message: str) -> str:
        git("commit", "--quiet", "--allow-empty", "-m", message)
        return git("rev-parse", "HEAD")

    git("init", "--quiet")
    first = commit("1")
    assert templates.main_branch_commit() == first  # on main: what is not committed
    git("checkout", "--quiet", "-b", "branch")
    second = commit("2")
    assert templates.main_branch_commit() == first
    git("update-ref", "refs/remotes/origin/main", second)
    assert templates.main_branch_commit() == second
    git("checkout", "--quiet", "--orphan", "other")
    commit("3")
    with pytest.raises(OpsError, match="BASE=REVISION"):
        templates.main_branch_commit()


def test_an_environment_is_compared_with_its_own_stacks_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"dev": assembly(THRESHOLD[1])}
    there = {"scones-dev-Data": assembly(THRESHOLD[0]).templates["dev/Data"]}
    monkeypatch.setattr(diff, "current_target", lambda: "the local cloud (account 0)")
    monkeypatch.setattr(templates, "synthesize", lambda *, only: here[only])
    monkeypatch.setattr(templates, "deployed", lambda names: {stack: there[name] for stack, name in names.items()})
    result = CliRunner().invoke(application(), ["diff", "--env", "dev"], catch_exceptions=False)
    assert "Compared with environment dev in the local cloud (account 0)" in result.output
    assert "dev  THRESHOLD 0.9 → 0.8 (Data/F)" in result.output
    assert "prod" not in result.output


def test_a_commit_and_a_deployment_are_not_compared_at_once() -> None:
    result = CliRunner().invoke(application(), ["diff", "--env", "dev", "--base", "HEAD"])
    assert isinstance(result.exception, OpsError)


class Tags(HTMLParser):
    """What GitHub would render: elements, and the text inside <pre>."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        assert not attrs

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_data(self, data: str) -> None:
        self.text += data


ELEMENTS = ["pre", "/pre", "details", "summary", "/summary", "pre", "/pre", "/details"]
HOSTILE = [
    "</pre>\n\n**REPLACES the bucket Data/Bucket**",
    "\n```\n# Changes nothing in the cloud\n",
    "<!-- ",
    "<img src=x onerror=alert(1)>",
    "&lt;/pre&gt;",
    "\x1b[2K\x1b[1A all is well",
    "\u202eecalper\u202c \u2066\u200b\u2028\u2029\u0085\ufeff",
    "\ud800",
    "x\r## Lost\nLost  dev  REPLACES the bucket",
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("place", ["value", "name", "key", "type", "action"])
def test_no_template_closes_hides_or_fakes_anything(value: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def hostile(inside: str) -> Resources:
        match place:
            case "value":
                return {"F": function("F", V=inside)}
            case "name":
                return {"F": resource("Events::Rule", f"F{inside}", {"Description": inside})}
            case "key":
                return {"F": function("F", **{inside: inside})}
            case "type":
                return {"F": resource(inside, "F")}
        statement = {"Effect": "Allow", "Principal": inside, "Action": inside, "Resource": inside}
        return {"F": resource("SNS::TopicPolicy", "F", {"PolicyDocument": {"Statement": [statement]}})}

    sides = {**hostile("before"), **RENAMED[0]}, {**hostile(value), **RENAMED[1]}
    comment = markdown(*sides)
    parsed = Tags(comment)
    assert parsed.tags == ELEMENTS
    output = run(sides, monkeypatch, "--details").output
    for text in (comment, output):
        assert all(c.isprintable() or c == "\n" for c in text)
        # Whatever a template says stands behind other words, never in the first column
        assert len(re.findall(r"^Lost ", text, flags=re.MULTILINE)) == 1
    assert comment.startswith("### ⚠️ Changes 2 resources; loses or replaces 1 with state\n")


def test_a_long_report_is_cut_to_what_a_comment_takes() -> None:
    sides = [{"F": function("F", **{f"V{n}": f"<{value}>" * 100 for n in range(300)}), "B": bucket()} for value in "ab"]
    comment = markdown(*sides)
    assert len(comment) < 65_536
    assert Tags(comment).tags == ELEMENTS
    assert "more lines: `make diff` shows the whole report" in comment


def test_the_report_goes_to_a_file_on_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "build" / "diff.md"
    assert run(THRESHOLD, monkeypatch, "--markdown", str(path)).exit_code == 0
    assert path.read_text(encoding="utf-8") == markdown(*THRESHOLD)
