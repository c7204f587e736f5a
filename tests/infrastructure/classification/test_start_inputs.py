"""The workflow reads inputs in the forms of the original and S3's events, and the reference implementation agrees."""

import contextlib
import copy
import json
import random
from typing import Any

import pytest
from ministack.services import stepfunctions

from lambda_src.shared.errors import InvalidInputError
from lambda_src.shared.item import ImageRef
from tests.fuzz.targets import varied_json
from tests.second_opinion import Case, disagreements
from tests.unit.ops.conftest import upload_event

ITEM = {"image_data": "", "s3_bucket": "sagemaker-us-east-1-111122223333", "s3_key": "test/cycle_s_001297.png"}
CLASSIFIED = {**ITEM, "image_data": "iVBORw0KGgo=", "inferences": "[0.98, 0.02]"}


def envelope(body: Any) -> dict[str, Any]:
    return {"statusCode": 200, "body": body}


def read(definition: dict[str, Any], start_input: Any) -> Any:
    """The result of the first states for a start input: the items of the Map, or the prefix to list."""
    value, case = evaluated(definition, start_input)
    assert not disagreements([case])
    return value


def evaluated(definition: dict[str, Any], start_input: Any) -> tuple[Any, Case]:
    """The same, and what the reference implementation must agree with."""
    state = definition["States"][definition["StartAt"]]
    assert state["Type"] == "Pass"
    expression = state["Output"].removeprefix("{% ").removesuffix(" %}")
    try:
        value = stepfunctions._apply_jsonata_template(state["Output"], start_input, {})
        outcome = {"value": value}
    except stepfunctions._ExecutionError as error:
        value, outcome = error, {"error": str(error)}
    return value, {
        "expression": expression,
        "states": {"input": start_input},
        "variables": {},
        "millis": 0,
        **outcome,
    }


@pytest.mark.parametrize(
    "start_input",
    [
        ITEM,
        json.dumps(ITEM),
        envelope(ITEM),
        envelope(json.dumps(ITEM)),
        envelope(envelope(ITEM)),
        envelope(json.dumps(envelope(json.dumps(ITEM)))),
        json.dumps(envelope(ITEM), indent=2),
    ],
    ids=["item", "text", "object", "text in body", "twice", "text in text", "envelope as text"],
)
def test_the_forms_of_the_original_are_opened(definition: dict[str, Any], start_input: Any) -> None:
    assert read(definition, start_input) == [ITEM]


@pytest.mark.parametrize("start_input", [CLASSIFIED, envelope(CLASSIFIED), envelope(json.dumps(CLASSIFIED))])
def test_members_that_the_originals_steps_added_are_read_again(definition: dict[str, Any], start_input: Any) -> None:
    (item,) = read(definition, start_input)
    assert {name: item[name] for name in ("s3_bucket", "s3_key")} == {k: ITEM[k] for k in ("s3_bucket", "s3_key")}


@pytest.mark.parametrize("version", ["v1", "null", None])
@pytest.mark.parametrize("key", ["incoming/a.png", 'incoming/a "b"\\c <d>.png'])
def test_an_event_of_s3_is_its_object_with_or_without_a_version(
    definition: dict[str, Any], version: str | None, key: str
) -> None:
    event = upload_event(key)
    event["detail"]["object"].pop("version-id")
    if version:
        event["detail"]["object"]["version-id"] = version
    expected = {
        "image_data": "",
        "s3_bucket": "images",
        "s3_key": key,
        **({"s3_version_id": version} if version else {}),
    }
    for start_input in (event["detail"], event):
        assert read(definition, start_input) == [expected]


def test_a_list_and_a_prefix_stay_what_they_are(definition: dict[str, Any]) -> None:
    prefix = {"s3_bucket": "b", "s3_prefix": "scheduled/"}
    assert read(definition, prefix) == prefix
    assert read(definition, envelope(prefix)) == prefix
    lists: list[Any] = [[], [ITEM], [ITEM, envelope(ITEM)], [[]], "text", {}]
    for images in lists:
        assert read(definition, {"images": images}) == images
    choice = definition["States"][definition["States"][definition["StartAt"]]["Next"]]
    (clause,) = choice["Choices"]
    for start_input, is_prefix in ((prefix, True), ({"images": [prefix]}, False), ({}, False), (None, False)):
        found = read(definition, start_input)
        assert stepfunctions._apply_jsonata_template(clause["Condition"], found, {}) is is_prefix


@pytest.mark.parametrize("start_input", [None, 7, True, "text", "", {}, {"body": None}, [], [[]], envelope("text")])
def test_items_that_are_not_images_are_left_to_the_steps_to_refuse(
    definition: dict[str, Any], start_input: Any
) -> None:
    found = read(definition, copy.deepcopy(start_input))
    assert isinstance(found, list)
    assert all(not isinstance(item, dict) or "s3_key" not in item for item in found)


@pytest.mark.parametrize("start_input", ['{"s3_key": ', envelope("{not JSON}")])
def test_text_that_begins_as_json_and_is_none_ends_the_execution_by_name(
    definition: dict[str, Any], start_input: Any
) -> None:
    error = read(definition, start_input)
    assert error.error == "States.QueryEvaluationError"


def test_any_input_becomes_items_for_the_steps_or_ends_the_execution_with_a_named_error(
    definition: dict[str, Any],
) -> None:
    chance = random.Random(17)
    forms = [
        ITEM,
        envelope(json.dumps(ITEM)),
        envelope(envelope(ITEM)),
        upload_event("incoming/a.png"),
        {"images": [ITEM]},
    ]
    cases = []
    for form in forms * 40:
        text = json.dumps(form).encode()
        for _ in range(chance.randint(1, 4)):
            text = varied_json(text, chance)
        found, case = evaluated(definition, json.loads(text))
        if b"0" * 30 not in text:  # JavaScript rounds so long a number
            cases.append(case)
        match found:
            case list():  # each member is an item
                for item in found:
                    with contextlib.suppress(InvalidInputError):
                        ImageRef.of(item)
            case {"s3_prefix": _}:
                pass
            case stepfunctions._ExecutionError():
                assert found.error == "States.QueryEvaluationError"
            case _:  # `images` is no list: WithinLimits? refuses it
                assert b"images" in text
    assert not disagreements(cases)
