"""Writes the pinned Python packages as a CycloneDX bill of materials: `make sbom`. Runs in the scanners' environment.

Format: https://cyclonedx.org/docs/1.6/json/; npm writes its own packages' bill itself (`npm sbom`).
"""

import sys
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from pip_requirements_parser import InstallRequirement, RequirementsFile


def bill_of_materials(lock: Path) -> Bom:
    """One component for each requirement of a lock file, which pins versions and hashes."""
    return Bom(components=map(_component, RequirementsFile.from_file(str(lock)).requirements))


def _component(requirement: InstallRequirement) -> Component:
    purl = PackageURL("pypi", name=requirement.name, version=requirement.get_pinned_version)
    return Component(
        type=ComponentType.LIBRARY,
        name=requirement.name,
        version=requirement.get_pinned_version,
        bom_ref=purl.to_string(),
        purl=purl,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=value.split(":")[1]) for value in requirement.hash_options],
    )


if __name__ == "__main__":
    sys.stdout.write(JsonV1Dot6(bill_of_materials(Path(sys.argv[1]))).output_as_string(indent=2) + "\n")
