"""Under every fault, every image ends in exactly one recorded outcome, and nothing but that image is affected.

The faults themselves are in image_cases.py, what is checked after each execution in outcome_check.py.
"""

import contextlib
import json
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.cloud import LocalCloud
from local.demonstration import Environment, Execution, Inbox, wait_for
from local.sagemaker.fault import Fault
from tests.local.image_cases import CASES, ENDPOINT, GOOD, ImageCase, PlacedImage, place
from tests.local.outcome_check import check_outcomes, contents, stored_prediction

Run = Callable[[Sequence[ImageCase]], Execution]


@pytest.fixture(scope="module")
def mail(cloud: LocalCloud) -> "Mail":
    return Mail(cloud)


class Mail:
    """All messages of the topic since the beginning, whichever test looks for them."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._inbox: Inbox | None = None
        self._messages: list[dict[str, str]] = []

    def of(self, environment: Environment, execution: Execution) -> list[dict[str, str]]:
        """The messages by the time that those of `execution` have arrived."""
        assert self._inbox, "opened before the execution"

        def arrived() -> list[dict[str, str]] | None:
            assert self._inbox
            while received := self._inbox.messages():
                self._messages += received
            there = [m for m in self._messages if execution.arn in m["Message"]]
            return self._messages if there or execution.status == "SUCCEEDED" else None

        return wait_for(arrived, f"the digest of {execution.arn}")

    def open(self, environment: Environment) -> None:
        self._inbox = self._inbox or Inbox(environment.alert_topic_arn)


@pytest.fixture
def good(environment: Environment, confident_images: list[str]) -> bytes:
    return boto3.client("s3").get_object(Bucket=environment.bucket, Key=confident_images[0])["Body"].read()


@pytest.fixture
def run(environment: Environment, cloud: LocalCloud, mail: Mail, good: bytes) -> Run:
    """Place the images, classify them in one execution, and check everything that must hold afterwards."""
    mail.open(environment)

    def place_classify_and_check(cases: Sequence[ImageCase]) -> Execution:
        images = place(environment, cloud, cases, good=good, folder=f"test/{uuid.uuid4().hex}")
        before = contents(environment)
        execution = environment.execute({"images": [image.item for image in images]})
        messages = mail.of(environment, execution)
        check_outcomes(environment, cloud, execution, images, before=before, messages=messages)
        return execution

    return place_classify_and_check


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_image_of_each_kind_between_good_ones(run: Run, case: ImageCase) -> None:
    run([GOOD, case, GOOD])


def test_all_kinds_at_once(run: Run) -> None:
    run(CASES)


# What takes seconds to fail is drawn by no example; the test above has one of each
_QUICK = [case for case in CASES if case.requests < 4]


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cases=st.lists(st.sampled_from(_QUICK), max_size=40))
def test_any_mix_of_any_length(run: Run, cases: list[ImageCase]) -> None:
    run(cases)


@pytest.mark.parametrize("length", [0, 1, 500])
def test_a_list_of_any_allowed_length(run: Run, length: int) -> None:
    missing = next(case for case in CASES if case.name == "missing")
    run([missing] * (length - 5) + [GOOD] * min(length, 5))
