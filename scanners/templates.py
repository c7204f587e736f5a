"""The scanners that read templates and policies: cfn-lint, checkov and parliament."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scanners.finding import Finding
from scanners.policies import Environment
from stacks.config import PROJECT_ROOT

# Its old boto3 conflicts with the emulator's, so it has its own virtual environment: `make .venv-scan/.installed`
_TOOLS = PROJECT_ROOT / ".venv-scan" / "bin"

# W3005: CDK lets a function depend on its role and on the role's policy, though it refers to the role already
_CFN_LINT_IGNORED = "W3005"
# The rule requires an ARN of each resource type of an action, also of express executions and map runs, which are not
# used here
_PARLIAMENT_IGNORED = {
    ("RESOURCE_MISMATCH", "states:DescribeExecution"),
    ("RESOURCE_MISMATCH", "states:ListExecutions"),
}


class ScannerError(Exception):
    """When a scanner cannot run; the message says what to do."""


def environments(assembly: Path) -> list[str]:
    return sorted(path.name.removeprefix("assembly-") for path in assembly.glob("assembly-*") if path.is_dir())


def cfn_lint(assembly: Path) -> Iterator[Finding]:
    """Run cfn-lint: errors and suspicious constructs in templates."""
    from cfnlint.config import ConfigMixIn  # noqa: PLC0415 - it takes half a second
    from cfnlint.runner import Runner  # noqa: PLC0415

    templates = sorted(map(str, assembly.glob("assembly-*/*.template.json")))
    for found in Runner(ConfigMixIn(templates=templates, ignore_checks=[_CFN_LINT_IGNORED])).run():
        file = Path(found.filename)
        environment = file.parent.name.removeprefix("assembly-")
        yield Finding("cfn-lint", environment, found.rule.id, f"{file.name}:{found.linenumber}", found.message)


def checkov(assembly: Path) -> Iterator[Finding]:
    """Run checkov's rules for CloudFormation. The templates' metadata has the acknowledged findings with reasons."""
    for environment in environments(assembly):
        output = _run(
            [
                _tool("checkov"),
                *("--directory", str(assembly / f"assembly-{environment}"), "--framework", "cloudformation"),
                *("--output", "json", "--quiet", "--compact", "--skip-download"),
            ]
        )
        reports: Any = json.loads(output)
        for report in reports if isinstance(reports, list) else [reports]:
            for found in report.get("results", {}).get("failed_checks", []):
                yield Finding("checkov", environment, found["check_id"], found["resource"], found["check_name"])


def parliament(assembly: Path) -> Iterator[Finding]:
    """Run parliament: whether the policies' actions, resources and conditions exist and match."""
    for environment in environments(assembly):
        with tempfile.TemporaryDirectory() as folder:
            for number, policy in enumerate(Environment(assembly, environment).role_policies()):
                document = {"Version": "2012-10-17", "Statement": policy.statements}
                Path(folder, f"{policy.owner}-{number}.json").write_text(json.dumps(document))
            output = _run([_tool("parliament"), "--directory", folder, "--json"])
        for line in output.splitlines():
            found = json.loads(line)
            detail = json.dumps(found.get("detail") or found.get("location"), ensure_ascii=False)
            where = Path(found["location"]["filepath"]).stem
            if (found["issue"], _actions(found)) not in _PARLIAMENT_IGNORED:
                yield Finding("parliament", environment, found["issue"], where, f"{found['title']}: {detail}")


def _actions(found: dict[str, Any]) -> str:
    detail = found.get("detail")
    return ",".join(str(match["action"]) for match in detail) if isinstance(detail, list) else ""


def _tool(name: str) -> str:
    path = _TOOLS / name
    if not path.exists():
        raise ScannerError(f"{path.relative_to(PROJECT_ROOT)} is not installed: run the scanners with `make scan`")
    return str(path)


def _run(command: list[str]) -> str:
    """The scanner's standard output; a scanner that found something ends with a status that is not 0."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT_ROOT, timeout=300)
    if result.returncode and not result.stdout.strip():
        raise ScannerError(f"{Path(command[0]).name} ended with status {result.returncode}:\n{result.stderr[-2000:]}")
    return result.stdout
