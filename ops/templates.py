"""Reads CloudFormation templates: synthesized from the working tree or from a commit, or deployed."""

import json
import shlex
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep import aws
from ops.cdk import run_cdk
from ops.errors import OpsError
from stacks.config import PROJECT_ROOT

Template = dict[str, Any]


@dataclass(frozen=True)
class Assembly:
    """A cloud assembly: templates and CloudFormation's stack names, by CDK's stack name such as `dev/Data`."""

    templates: dict[str, Template]
    stack_names: dict[str, str]

    def only(self, environment: str) -> "Assembly":
        """The stacks of one environment."""
        here = f"{environment}/"
        return Assembly(
            {stack: template for stack, template in self.templates.items() if stack.startswith(here)},
            {stack: name for stack, name in self.stack_names.items() if stack.startswith(here)},
        )


def synthesize(source: Path = PROJECT_ROOT, *, only: str | None = None) -> Assembly:
    """Render the templates of every environment of cdk.json in `source`, or of one; needs no account. Raises OpsError.

    Another commit's code runs with the tools that are installed here.
    """
    with tempfile.TemporaryDirectory() as output:
        # Not cdk.json's own app, which needs .venv: a commit's folder has none
        application = shlex.join([sys.executable, "app.py"])
        chosen = ["--context", f"only={only}"] if only else []
        run_cdk("synth", "--quiet", "--app", application, "--output", output, *chosen, capture=True, folder=source)
        return read_assembly(Path(output))


def synthesize_commit(revision: str) -> Assembly:
    """Render the templates of a commit, without touching the working tree. Raises OpsError."""
    missing = f"there is no commit {revision!r}"
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", error=missing)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "commit.zip")
        _git("archive", f"--output={archive}", commit, error=f"cannot read commit {revision!r}")
        with zipfile.ZipFile(archive) as files:
            files.extractall(folder)
        try:
            return synthesize(Path(folder))
        except OpsError as error:
            raise OpsError(f"cannot synthesize {revision} with the tools that are installed now: {error}") from None


def main_branch_commit() -> str:
    """The commit at which HEAD left the main branch, the remote's if there is one. Raises OpsError."""
    for branch in ("origin/main", "main"):
        with suppress(OpsError):
            return _git("merge-base", "HEAD", branch, error="")
    raise OpsError("no commit in common with origin/main or main: name one with --base, or `make diff BASE=REVISION`")


def _git(*arguments: str, error: str) -> str:
    """The output of git; raises OpsError with `error` and git's message."""
    result = subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise OpsError(": ".join(filter(None, [error, result.stderr.strip()])))
    return result.stdout.strip()


def read_assembly(folder: Path) -> Assembly:
    """The stacks of a cloud assembly, including those of its stages."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assembly = Assembly({}, {})
    for artifact_id, artifact in manifest["artifacts"].items():
        properties = artifact.get("properties", {})
        if artifact["type"] == "aws:cloudformation:stack":
            stack = artifact.get("displayName", artifact_id)
            assembly.templates[stack] = json.loads((folder / properties["templateFile"]).read_text(encoding="utf-8"))
            assembly.stack_names[stack] = properties.get("stackName", artifact_id)
        elif artifact["type"] == "cdk:cloud-assembly":
            nested = read_assembly(folder / properties["directoryName"])
            assembly.templates.update(nested.templates)
            assembly.stack_names.update(nested.stack_names)
    return assembly


def deployed(stack_names: dict[str, str]) -> dict[str, Template]:
    """The deployed templates by stack; a stack that is not deployed is missing."""
    cloudformation = aws.cloudformation()
    pages = cloudformation.get_paginator("describe_stacks").paginate()
    # A stack in REVIEW_IN_PROGRESS has no template yet
    absent = {"DELETE_COMPLETE", "REVIEW_IN_PROGRESS"}
    alive = {s["StackName"] for page in pages for s in page["Stacks"] if s["StackStatus"] not in absent}
    templates: dict[str, Template] = {}
    for stack, name in stack_names.items():
        if name in alive:
            body: Any = cloudformation.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
            templates[stack] = json.loads(body) if isinstance(body, str) else dict(body)
    return templates
