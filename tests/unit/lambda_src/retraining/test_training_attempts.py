from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from lambda_src.retraining.training_attempts import Attempt, base_name, find_attempt
from local.sagemaker.control_plane import ControlPlane
from tests.unit.lambda_src.retraining.data_set import BUCKET
from tests.unit.stand_in import client_for, client_of
from tests.unit.stored import create_bucket, place

BASE = base_name("scones-dev", "d" * 64, "abcdef01")


@dataclass
class Account:
    """SageMaker's jobs and a bucket, in which the artifacts of some of them may be."""

    plane: ControlPlane
    sagemaker: Any
    s3: Any
    calls: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, status: str, *, artifact: bool = False) -> None:
        uri = f"s3://the-bucket-before/models/{name}/output/model.tar.gz"
        self.plane._training_jobs[name] = {
            "TrainingJobName": name,
            "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}",
            "TrainingJobStatus": status,
            "CreationTime": 0,
            "ModelArtifacts": {"S3ModelArtifacts": uri},
        }
        if artifact:
            place(BUCKET, f"models/{name}/output/model.tar.gz", b"model")

    def find(self, *, force: bool = False) -> Attempt:
        return find_attempt(BASE, bucket=BUCKET, sagemaker=self.sagemaker, s3=self.s3, force=force)


@pytest.fixture(scope="module")
def services() -> tuple[ControlPlane, Any, Any]:
    plane = ControlPlane(cache=Path())
    with mock_aws():
        return plane, client_of(plane), client_for("s3")


@pytest.fixture
def account(services: tuple[ControlPlane, Any, Any]) -> Iterator[Account]:
    account = Account(*services)
    account.plane._training_jobs.clear()

    def count(model: Any, **_: Any) -> None:
        account.calls[model.name] += 1

    with mock_aws():
        create_bucket(BUCKET)
        for client in services[1:]:
            client.meta.events.register("before-parameter-build", count)
        yield account
        for client in services[1:]:
            client.meta.events.unregister("before-parameter-build", count)


@pytest.mark.parametrize(
    ("attempts", "found"),
    [
        ([], "1 New"),
        (["InProgress"], "1 InProgress"),
        (["Stopping"], "1 InProgress"),  # until it is known what it ends as
        (["Failed"], "2 New"),
        (["Stopped"], "2 New"),
        (["Completed with artifact"], "1 Completed"),
        (["Completed"], "2 New"),  # its bucket is gone, its name is not
        (["Completed", "Completed with artifact"], "2 Completed"),
        (["Completed with artifact", "Completed with artifact"], "2 Completed"),  # the newest
        (["Completed with artifact", "Failed"], "1 Completed"),
        (["Completed with artifact", "Completed"], "1 Completed"),
        (["InProgress", "Failed"], "1 InProgress"),
        (["Failed with artifact"], "2 New"),  # what a job that failed leaves is no model
    ],
)
def test_an_attempt_is_taken_that_runs_or_has_left_a_model(account: Account, attempts: list[str], found: str) -> None:
    for number, attempt in enumerate(attempts, 1):
        account.add(f"{BASE}-{number}", attempt.split()[0], artifact="with artifact" in attempt)
    number_found, status = found.split()
    assert account.find() == Attempt(f"{BASE}-{number_found}", status)  # type: ignore[arg-type]
    assert account.find(force=True) == Attempt(f"{BASE}-{len(attempts) + 1}", "New")


def test_numbers_are_no_text_and_other_names_no_attempts(account: Account) -> None:
    for number in range(1, 11):
        account.add(f"{BASE}-{number}", "Failed")
    for name in (f"{BASE}-11-copy", f"another-{BASE}-12", f"{BASE[:-1]}0-13"):
        account.add(name, "Completed", artifact=True)
    assert account.find() == Attempt(f"{BASE}-11", "New")


def test_a_job_that_the_list_does_not_show_yet_is_found(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.add(f"{BASE}-1", "Failed")
    old = account.plane.list_training_jobs({})
    account.add(f"{BASE}-2", "Failed")
    account.add(f"{BASE}-3", "InProgress")
    monkeypatch.setattr(account.plane, "list_training_jobs", lambda _: old)
    assert account.find() == Attempt(f"{BASE}-3", "InProgress")


def test_a_status_that_the_list_has_not_heard_of_yet_counts(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.add(f"{BASE}-1", "InProgress")
    old = account.plane.list_training_jobs({})
    account.add(f"{BASE}-1", "Failed")
    monkeypatch.setattr(account.plane, "list_training_jobs", lambda _: old)
    assert account.find() == Attempt(f"{BASE}-2", "New")


def test_hundreds_of_attempts_cost_a_handful_of_calls(account: Account) -> None:
    for number in range(1, 301):
        account.add(f"{BASE}-{number}", "Completed")
    assert account.find() == Attempt(f"{BASE}-301", "New")
    assert account.calls == {"ListTrainingJobs": 1, "DescribeTrainingJob": 2, "ListObjectsV2": 1}
