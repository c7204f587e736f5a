"""After all other tests: the reference implementation agrees on every JSONata expression that they have evaluated."""

import json

from local.cloud import LocalCloud
from tests.local.conftest import EXPRESSIONS
from tests.second_opinion import disagreements


def test_the_reference_agrees_on_every_expression_of_the_run(cloud: LocalCloud, confident_images: list[str]) -> None:
    lines = (cloud.directory / EXPRESSIONS).read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    assert len({case["expression"] for case in cases}) >= 10
    found = disagreements(cases)
    assert not found, f"{len(found)} of {len(cases)}:\n" + "\n".join(found[:10])
