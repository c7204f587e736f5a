"""What must hold in every template; what the scanners ask is in test_scanner_exceptions.py."""

import json
from pathlib import Path

import cfnlint

from ops.region import WITHOUT
from stacks.shared.registry_accounts import IMAGE_CLASSIFICATION
from tests.infrastructure.delivery.test_boundary import HANDLERS

SCHEMAS = Path(cfnlint.__file__).parent / "data/schemas/providers"


def test_no_managed_policy(assembly: Path, environment: str) -> None:
    for path in (assembly / f"assembly-{environment}").glob("*.template.json"):
        for resource in json.loads(path.read_text())["Resources"].values():
            if resource["Type"] == "AWS::IAM::Role":
                assert "ManagedPolicyArns" not in resource["Properties"]


def test_what_a_region_lacks_is_what_its_schemas_of_cloudformation_lack() -> None:
    """Of all types of resources that an environment can have, which are the keys of HANDLERS."""
    lacking: dict[str, set[str]] = {}
    for region in IMAGE_CLASSIFICATION:
        path = SCHEMAS / f"{region}.json"
        # The schemas of the secret partitions are not public
        if path.exists() and not region.startswith("us-iso"):
            for name in HANDLERS.keys() - json.loads(path.read_text()).keys():
                lacking.setdefault(name, set()).add(region)
    known = {name: set(regions.split()) for name, regions in WITHOUT.items()}
    assert {name: lacking[name] for name in known} == known
    for name, regions in lacking.items():
        assert any(regions <= others for others in known.values()), name
