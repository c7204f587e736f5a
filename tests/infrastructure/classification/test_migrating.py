"""docs/migrating.md: its settings can be deployed, and its inputs start the workflow with the image that they name."""

import json
import re
from typing import Any

from stacks.config import PROJECT_ROOT, parse_environments
from tests.infrastructure.classification.test_start_inputs import ITEM, read

DOCUMENT = (PROJECT_ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
SETTINGS, INPUTS, PATTERN = re.findall(r"^```json\n(.*?)^```", DOCUMENT, flags=re.MULTILINE | re.DOTALL)


def test_its_settings_name_where_the_images_of_its_inputs_lie() -> None:
    (config,) = parse_environments(json.loads(SETTINGS))
    assert config.confidence_threshold == 0.93
    (source,) = config.image_sources
    assert f"s3://{ITEM['s3_bucket']}/{ITEM['s3_key']}".startswith(source)


def test_each_of_its_inputs_is_the_same_image(definition: dict[str, Any]) -> None:
    inputs = [json.loads(line) for line in INPUTS.splitlines()]
    assert len(inputs) == 4
    for start_input in inputs:
        (item,) = read(definition, start_input)
        assert (item["s3_bucket"], item["s3_key"]) == (ITEM["s3_bucket"], ITEM["s3_key"])


def test_its_pattern_matches_what_the_rule_of_this_project_matches(workflow: Any) -> None:
    ours = workflow.only("AWS::Events::Rule")["EventPattern"]
    theirs = json.loads(PATTERN)
    assert (theirs["source"], theirs["detail-type"]) == (ours["source"], ours["detail-type"])
    assert set(theirs["detail"]) == set(ours["detail"])
