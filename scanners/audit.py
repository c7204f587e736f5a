"""Looks pinned dependencies up in the Python advisory database: `make audit`. Runs in the scanners' environment.

Ends with status 1 for a known vulnerability, and with 2 where the database cannot be reached: then nothing is known.
"""

import json
import subprocess
import sys
from typing import Any


def main(locks: list[str]) -> int:
    status = 0
    for lock in locks:
        command = ["-m", "pip_audit", "--requirement", lock, "--disable-pip", "--progress-spinner", "off"]
        result = subprocess.run(
            [sys.executable, *command, "--format", "json"], capture_output=True, text=True, check=False
        )
        dependencies: list[dict[str, Any]] = json.loads(result.stdout)["dependencies"] if result.stdout else []
        audited = [dependency for dependency in dependencies if "skip_reason" not in dependency]
        if not audited:
            sys.stderr.write(
                f"error: {lock}: nothing was audited, as the advisory database at pypi.org does not respond; "
                "run `make audit` where it does\n"
            )
            return 2
        vulnerable = [dependency for dependency in audited if dependency["vulns"]]
        for dependency in vulnerable:
            known = ", ".join(vulnerability["id"] for vulnerability in dependency["vulns"])
            sys.stdout.write(f"{lock}: {dependency['name']} {dependency['version']}: {known}\n")
        sys.stdout.write(
            f"{lock}: {len(audited)} of {len(dependencies)} dependencies audited, {len(vulnerable)} vulnerable\n"
        )
        status |= bool(vulnerable)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
