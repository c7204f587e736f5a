"""Runs every scanner over every environment: `make scan`. Exits with status 1 if there are findings."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scanners import cdk_nag, templates
from scanners.finding import Finding
from scanners.verdict import is_configured

_SCANNERS = ("cdk-nag", "cfn-lint", "checkov", "parliament")


def main() -> None:
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        assembly = Path(folder)
        with console.status("cdk-nag, cfn-lint, checkov, parliament"):
            findings = [
                *cdk_nag.scan(assembly),
                *templates.cfn_lint(assembly),
                *templates.checkov(assembly),
                *templates.parliament(assembly),
            ]
        environments = templates.environments(assembly)
    console.print(_table(findings, environments))
    open_findings = [finding for finding in findings if not is_configured(finding)]
    for finding in open_findings:
        console.print(f"{finding.scanner} {finding.rule} {finding.resource}: {finding.message}", soft_wrap=True)
    if open_findings:
        sys.exit(1)
    console.print("Nothing that is not accepted where it arises, or configured so.")


def _table(findings: list[Finding], environments: list[str]) -> Table:
    table = Table("scanner", *(f"{name}: findings" for name in environments), "of these configured so", box=None)
    for scanner in _SCANNERS:
        found = [finding for finding in findings if finding.scanner == scanner]
        counts = Counter(finding.environment for finding in found)
        configured = sum(map(is_configured, found))
        table.add_row(scanner, *(str(counts[name]) for name in environments), str(configured))
    return table


try:
    main()
except templates.ScannerError as error:
    sys.exit(f"error: {error}")
