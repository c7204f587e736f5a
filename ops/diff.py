"""What a change does to the cloud, for a reviewer: the real `cdk diff`, sorted by what matters.

Exit status: 0 nothing changes, 1 could not compare, 2 something changes, 3 something is replaced or deleted that
holds state.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from data_prep.target import current_target
from ops import templates
from ops.cdk import run_cdk
from ops.errors import OpsError
from ops.templates import Template
from stacks.config import load_environment

CHANGED, ENDANGERED = 2, 3
# GitHub refuses a comment of more than 65,536 characters
MARKDOWN_LIMIT = 60_000

# What is lost with a resource that holds state: by type, its name and the consequence
STATEFUL = {
    "AWS::S3::Bucket": ("bucket", "the data set, models, predictions and captures in it"),
    "AWS::SageMaker::Endpoint": ("endpoint", "answers, until the new one is in service"),
    "AWS::KMS::Key": ("key", "access to everything that it encrypted"),
    "AWS::SNS::Topic": ("topic", "its subscriptions: every address must confirm anew"),
    "AWS::SQS::Queue": ("queue", "the messages in it"),
    "AWS::Logs::LogGroup": ("log group", "the logs in it"),
    "AWS::SSM::Parameter": ("parameter", "its value"),
}
_SECURITY_TYPES = re.compile(
    r"AWS::IAM::|AWS::KMS::|AWS::Lambda::Permission|AWS::EC2::SecurityGroup|Policy$", flags=re.ASCII
)
_SECURITY_PROPERTIES = re.compile(
    r"\] \.?\w*(Policy|Policies|Encrypt|Kms|KMS|Public|AccessControl|Ownership|Role|Principal|Tls|TLS|Ssl|SSL|Network"
    r"|Isolation|LoggingConfiguration|DataCapture|PermissionsBoundary|AuthType|Versioning)\w*"
)
_SECURITY_SECTIONS = {"IAM Statement Changes", "IAM Policy Changes", "Security Group Changes"}
_BLOCK = re.compile(
    r"^\[(?P<sign>.)\] (?P<type>\S+) (?P<name>.+?)(?: (?P<impact>replace|may be replaced|destroy|orphan))?$"
)


@dataclass(frozen=True)
class StackDiff:
    """The differences of one stack: warnings in words, then `cdk diff`'s own text, security first."""

    stack: str
    warnings: tuple[str, ...]
    security: tuple[str, ...]
    other: tuple[str, ...]

    def markdown(self) -> str:
        parts = [f"## {self.stack}", *(f"- **{warning}**" for warning in self.warnings)]
        for title, blocks in (("Security", self.security), ("Everything else", self.other)):
            if blocks:
                text = "\n\n".join(blocks)
                parts.append(f"\n### {title}\n\n```text\n{text}\n```")
        return "\n".join(parts)


def compare(
    before: Mapping[str, Template], after: Mapping[str, Template], *, version: str, asset_hashes: bool = False
) -> list[StackDiff]:
    """The stacks that differ. version: that of the cloud assembly format. Raises OpsError."""

    def shown(template: Template | None) -> Any:
        return _words(templates.readable(template or {}, asset_hashes=asset_hashes))

    pairs = {stack: (shown(before.get(stack)), shown(after.get(stack))) for stack in sorted({*before, *after})}
    differing = {stack: pair for stack, pair in pairs.items() if pair[0] != pair[1]}
    with ThreadPoolExecutor(max_workers=4) as pool:
        texts = pool.map(lambda item: _cdk_diff(item[0], *item[1], version=version), differing.items())
        return [sort_changes(stack, text, pairs[stack][0]) for stack, text in zip(differing, texts, strict=True)]


def _words(value: Any) -> Any:
    """Booleans as words: `cdk diff` shows that one has changed, but not to what."""
    if isinstance(value, dict):
        return {key: _words(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_words(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else value


def _cdk_diff(stack: str, before: Template, after: Template, *, version: str) -> str:
    """Run `cdk diff` over a cloud assembly of this one stack, which takes a removed stack as well as a new one."""
    properties = {"templateFile": "after.json", "stackName": stack}
    artifact = {
        "type": "aws:cloudformation:stack",
        "environment": "aws://unknown-account/unknown-region",
        "displayName": stack,
        "properties": properties,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = {"version": version, "artifacts": {stack.replace("/", "-"): artifact}}
        for file, content in (("manifest.json", manifest), ("after.json", after), ("before.json", before)):
            (folder / file).write_text(json.dumps(content), encoding="utf-8")
        result = run_cdk(
            "diff",
            stack,
            f"--app={folder}",
            f"--template={folder / 'before.json'}",
            "--context-lines=3",
            "--no-color",
            capture=True,
        )
    return result.stdout + result.stderr


def sort_changes(stack: str, text: str, before: Template) -> StackDiff:
    """Sort what `cdk diff` printed. before: the template before the change, for its removal policies."""
    warnings: list[str] = []
    security: list[str] = []
    other: list[str] = []
    for title, blocks in _sections(text):
        if title in _SECURITY_SECTIONS:
            security.append("\n".join([title, *blocks]))
            continue
        for block in blocks:
            header = _BLOCK.match(block.partition("\n")[0]) if title == "Resources" else None
            if header and (warning := _warning(header, before)):
                warnings.append(warning)
            is_security = header and (_SECURITY_TYPES.search(header["type"]) or _SECURITY_PROPERTIES.search(block))
            (security if is_security else other).append(block)
    return StackDiff(stack, tuple(warnings), tuple(security), tuple(other))


def _sections(text: str) -> list[tuple[str, list[str]]]:
    """Title and blocks of each section of `cdk diff`'s output; what it says about itself is left out."""
    sections: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if re.match(r"^(Stack |\(NOTE: |✨|There were no differences)", line) or not line.strip():
            continue
        if re.match(r"^[A-Z][A-Za-z ]+$", line):
            sections.append((line, []))
        elif not sections:
            sections.append(("", [line]))
        elif re.match(r"^(\[|┌)", line) or not sections[-1][1]:
            sections[-1][1].append(line)
        else:
            sections[-1][1][-1] += f"\n{line}"
    return sections


def _warning(header: re.Match[str], before: Template) -> str | None:
    """What happens to a resource that holds state, in words."""
    if header["type"] not in STATEFUL or not header["impact"]:
        return None
    noun, loss = STATEFUL[header["type"]]
    *path, logical_id = header["name"].split(" ")
    what = f"the {noun} {' '.join(path) or logical_id}"
    resource = before.get("Resources", {}).get(logical_id, {})
    kept = resource.get("UpdateReplacePolicy", "Delete").startswith("Retain")
    match header["impact"]:
        case "destroy":
            return f"DELETES {what}. Lost: {loss}."
        case "orphan":
            return f"LETS GO of {what}: it stays in the account, but no stack manages it any more."
        case impact:
            verb = "REPLACES" if impact == "replace" else "MAY REPLACE"
            fate = f"The old one stays, unused, with {loss}" if kept else f"Lost: {loss}"
            return f"{verb} {what} by a new one. {fate}."


def report(diffs: list[StackDiff], *, against: str) -> str:
    """The whole comparison as Markdown; stacks in which something is lost come first."""
    if not diffs:
        return f"# No difference from {against}\n"
    ordered = sorted(diffs, key=lambda diff: (not diff.warnings, diff.stack))
    endangered = sum(len(diff.warnings) for diff in diffs)
    summary = f"{len(diffs)} stacks differ from {against}" if len(diffs) > 1 else f"One stack differs from {against}"
    if endangered:
        verbs = "replaces or deletes" if endangered == 1 else "replace or delete"
        summary += f"; {endangered} of the changes {verbs} what holds state"
    return "\n\n".join([f"# {summary}", *(diff.markdown() for diff in ordered)]) + "\n"


def diff(
    env: Annotated[
        str | None, typer.Option("--env", help="Compare this environment with what is deployed; needs credentials.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Commit to compare with. Default: the one at which this branch left the main branch."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the report to this file, short enough for a GitHub comment.")
    ] = None,
) -> None:
    """Show what a change does to the cloud: IAM, encryption and lost state first.

    Exit status: 0 nothing changes, 1 could not compare, 2 something changes, 3 state would be lost.
    """
    if env:
        load_environment(env)  # says which environments there are
    if env and base:
        raise OpsError("--env compares with what is deployed, --base with a commit: give one of them")
    if env:
        typer.echo(f"Comparing with environment {env} in {current_target()}", err=True)
    assembly = templates.synthesize()
    if env:
        names = {stack: name for stack, name in assembly.stack_names.items() if stack.startswith(f"{env}/")}
        after = {stack: assembly.templates[stack] for stack in names}
        against = f"what is deployed as {env}"
        before = templates.deployed(names)
        diffs = compare(before, after, version=assembly.version, asset_hashes=True)
    else:
        revision = base or templates.main_branch_commit()
        against = base or f"{revision[:10]}, where this branch left main"
        before = templates.synthesize_commit(revision).templates
        diffs = compare(before, assembly.templates, version=assembly.version)
    text = report(diffs, against=against)
    typer.echo(text, nl=False)
    if markdown:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(_shortened(text), encoding="utf-8")
    if diffs:
        raise typer.Exit(ENDANGERED if any(diff.warnings for diff in diffs) else CHANGED)


def _shortened(text: str) -> str:
    if len(text) <= MARKDOWN_LIMIT:
        return text
    cut = text[:MARKDOWN_LIMIT].rpartition("\n")[0]
    fence = "\n```" if cut.count("```") % 2 else ""
    return f"{cut}{fence}\n\n*{len(text) - len(cut):,} more characters: `make diff` shows the whole report.*\n"
