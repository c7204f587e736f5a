"""Documents stay correct: links have targets, commands and options exist, the configuration matches the code."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.testing import CliRunner

from lambda_src.bulk import bulk_summary, read_transform_output
from lambda_src.classification import serialize_image_data
from lambda_src.retraining import gate, validate_data_set
from local.deployment import bootstrap_options
from ops.console import activity, classify, models, review
from ops.review import desk, near_duplicates, queue
from ops.templates import read_assembly
from stacks import config
from stacks.classification import limits
from stacks.config import PROJECT_ROOT, EnvironmentConfig, parse_environment
from stacks.shared.retry_policy import EXPRESS, EXPRESS_SERVERLESS, MAX_POLLS, start_within_seconds

DOCUMENTS = sorted([*PROJECT_ROOT.glob("*.md"), *PROJECT_ROOT.glob("docs/**/*.md")])
PROGRAMS = ("make", "python", "cdk")


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT_ROOT))


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if re.match(r"https?:|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (document.parent / file).resolve() if file else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def commands() -> list[tuple[str, str]]:
    found = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
        in_blocks = [
            line.partition(" #")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()
        ]
        in_text = re.findall(r"`((?:make|cdk|python -m) [^`\n]+)`", text)
        found |= {(name_of(document), c) for c in (*in_blocks, *in_text) if c.partition(" ")[0] in PROGRAMS}
    return sorted(found)


@cache
def help_of(module: str, *words: str) -> str:
    """The help of a command; fails if the command does not exist."""
    is_package = (PROJECT_ROOT / module.replace(".", "/")).is_dir()
    if not is_package:  # a program of one command
        arguments = [sys.executable, "-m", module, *words, "--help"]
        process = subprocess.run(arguments, cwd=PROJECT_ROOT, check=True, capture_output=True, text=True, timeout=120)
        return process.stdout
    application = importlib.import_module(f"{module}.__main__").application
    result = CliRunner().invoke(application(), [*words, "--help"])
    assert result.exit_code == 0, result.output
    return result.output


@cache
def dry_run(*targets: str) -> None:
    """Fails if the Makefile has no such target."""
    # A line with $(MAKE) runs even so
    subprocess.run(["make", "--dry-run", "SHELL=true", *targets], cwd=PROJECT_ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(("document", "command"), commands())
def test_a_command_exists_with_its_options(request: pytest.FixtureRequest, document: str, command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "make":
        settings = [argument for argument in arguments if re.fullmatch(r"[A-Z]+=\S*", argument)]
        targets = [argument for argument in arguments if argument not in settings]
        dry_run(*targets)
        makefile = (PROJECT_ROOT / "Makefile").read_text()
        assert all(f"$({setting.partition('=')[0]})" in makefile for setting in settings)
        return
    if program == "cdk":
        if len(arguments) > 1 and arguments[0] == "bootstrap":
            own = parse_environment("dev", {"bootstrap_qualifier": "dev"})
            assert arguments[1:] == bootstrap_options(own, "arn:aws:iam::ACCOUNT:policy/scones-dev-boundary")
            return
        assert arguments[0] in {"deploy", "diff", "synth", "bootstrap", "destroy"}
        for pattern in arguments[1:]:
            stage, _, stack = pattern.partition("/")
            assert stage in {"dev", "prod", "ENV"}
            assert stack == "*" or f"dev/{stack}" in read_assembly(request.getfixturevalue("assembly")).templates
        return
    assert arguments[0] == "-m"
    module, *rest = arguments[1:]
    if module in {"pip", "venv", "http.server", "pytest"}:
        return
    assert importlib.util.find_spec(module)
    words = [module]
    for word in rest:
        # A sub-command is a word that the command's help lists
        if not re.fullmatch(r"[a-z-]+", word) or word.startswith("-") or f"│ {word}" not in help_of(*words):
            break
        words.append(word)
    if rest and re.fullmatch(r"[a-z][a-z-]*", rest[0]) and "Commands" in help_of(module):
        assert words[1:], f"{document}: {module} has no command {rest[0]}"
    options = {argument.partition("=")[0] for argument in rest if argument.startswith("--")}
    if options:  # a benchmark without any would start
        assert options <= set(re.findall(r"--[a-z-]+", help_of(*words)))


def settings(section: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Dotted key and default of every setting."""
    found: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        nested = config._SECTIONS.get(name)
        if nested and not prefix:
            found |= settings(nested, f"{name}.")
        elif name != "name":
            default = field.get_default()
            found[f"{prefix}{name}"] = None if default is PydanticUndefined else default
    return found


def test_the_configuration_table_is_complete_and_has_the_defaults() -> None:
    document = (PROJECT_ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| (none|`.+?`) \|", document, flags=re.MULTILINE)
    table = {key: None if default == "none" else json.loads(default.strip("`")) for key, default in rows}
    assert table == json.loads(json.dumps(settings(EnvironmentConfig)))


FIGURES = {
    "bulk.md": [
        f"| {limits.MAX_IMAGES}, fewer with very long keys |",
        f"| {serialize_image_data.MAX_IMAGE_BYTES:,} bytes | {serialize_image_data.MAX_IMAGE_BYTES:,} bytes "
        f"| {read_transform_output.MAX_IMAGE_BYTES >> 20} MiB |",
        f"batches of up to {config.MAX_BATCH_SIZE} images",
        f"has not started {start_within_seconds(EXPRESS)} s after its batch "
        f"({start_within_seconds(EXPRESS_SERVERLESS)} s with a serverless endpoint)",
        f"up to {bulk_summary.EXAMPLES} examples",
    ],
    "console.md": [
        f"the newest {activity.MAX_FAILURES} failures",
        f"the newest {activity.MAX_EXECUTIONS:,} executions",
        f"at most {serialize_image_data.MAX_IMAGE_BYTES:,} bytes",
        f"the last {classify.MAX_SHOWN} uploads",
        f"beyond the {len(review.KEYS)} keys",
        f"the {queue.MOST_ACCEPTED} with the lowest confidence",
        f"the last {desk.SINCE.days} days",
        f"{desk.APART} pictures further on",
        f"is at least {near_duplicates.ALIKE}",
        f"up to {models.MAX_DIFFERENCES} of the pictures",
    ],
    "retraining.md": [
        f"({gate.BINS} bins)",
        f"at most {gate.SIGNIFICANCE:.0%} are rejected",
        f"polls at most {MAX_POLLS} times",
        f"accepts {validate_data_set.MAX_IMAGES:,} images in both lists",
    ],
}


@pytest.mark.parametrize(("document", "phrase"), [(name, each) for name, found in FIGURES.items() for each in found])
def test_a_limit_is_the_one_in_the_code(document: str, phrase: str) -> None:
    assert phrase in " ".join((PROJECT_ROOT / "docs" / document).read_text(encoding="utf-8").split())


def test_the_diagram_of_retraining_has_the_transitions_of_the_state_machine() -> None:
    """Directly, or through states that are not drawn. Nor are the errors that end in Failed, as the document says."""
    document = (PROJECT_ROOT / "docs" / "retraining.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^  (\w+) --> (\w+)", document, flags=re.MULTILINE))
    names = {name for transition in drawn for name in transition}
    definition = yaml.safe_load((PROJECT_ROOT / "stacks" / "retraining" / "retraining.asl.yaml").read_text())
    following = {
        name.rstrip("?"): {target.rstrip("?") for target in re.findall(r"'(?:Next|Default)': '([^']+)'", str(state))}
        for name, state in definition["States"].items()
    }

    def reached(name: str) -> set[str]:
        found: set[str] = set()
        pending = set(following[name])
        while pending:
            found.add(target := pending.pop())
            pending |= following[target] - found if target not in names else set()
        return found & names

    transitions = {(name, target) for name in names for target in reached(name)}
    assert drawn == {transition for transition in transitions if transition[1] != "Failed"}


def test_architecture_lists_the_records_of_decisions_by_number_and_title() -> None:
    text = (PROJECT_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^(\d+)\. \[(.+)\]\(decisions/(.+)\)$", text, flags=re.MULTILINE)
    records = sorted(PROJECT_ROOT.glob("docs/decisions/*.md"))
    assert [name for _, _, name in listed] == [path.name for path in records]
    for number, (path, (listed_as, title, _)) in enumerate(zip(records, listed, strict=True), 1):
        assert (path.name[:5], listed_as) == (f"{number:04}-", str(number))
        assert path.read_text(encoding="utf-8").startswith(f"# {number}. {title}\n\n2")


def test_the_changelog_begins_with_the_version_of_the_project() -> None:
    version = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    (newest, *_) = re.findall(
        r"^## (\S+)", (PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert newest == version
