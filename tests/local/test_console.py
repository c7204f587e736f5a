"""The console in a real browser, with IAM enforced, for a user with only the stack's policy.

SCREENSHOTS=docs/images makes the pictures of docs/console.md again; they show synthetic images only.
"""

import contextlib
import http.client
import io
import json
import os
import random
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError
from PIL import Image

from lambda_src.retraining.release import job_of
from lambda_src.shared.model_documents import document_key
from lambda_src.shared.release_history import read_records
from local.cloud import CONSOLE, LocalCloud, _recorded
from local.demonstration import Environment
from ops.pictures import drifted
from stacks.config import PROJECT_ROOT
from tests.integration.browser import LOOPBACK_ONLY, Browser, started

HOSTILE = '<img src=x onerror="document.title=1">\u202egnp.png'


@dataclass(frozen=True)
class Person:
    """A user of the account, by the environment variables of the user's shell."""

    variables: dict[str, str]
    session: boto3.Session


@contextlib.contextmanager
def person(cloud: LocalCloud, *policies: str) -> Iterator[Person]:
    """A user with these managed policies, until the end of the block."""
    iam, name = boto3.client("iam"), f"person-{uuid.uuid4()}"
    iam.create_user(UserName=name)
    for policy in policies:
        iam.attach_user_policy(UserName=name, PolicyArn=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    own = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])
    try:
        yield Person({**cloud.environment, **own}, session)
    finally:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        for policy in policies:
            iam.detach_user_policy(UserName=name, PolicyArn=policy)
        iam.delete_user(UserName=name)


def policy(name: str) -> str:
    """ARN of one of the managed policies: Reviewer or Approver."""
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName="scones-dev-Console")["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}[f"{name}PolicyArn"]


@contextlib.contextmanager
def console(variables: dict[str, str]) -> Iterator[str]:
    """`python -m ops console` in a process of its own; the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "console", "--env", "dev"],
        cwd=PROJECT_ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        address = process.stdout.readline().strip()
        if not address:
            pytest.fail(process.communicate()[1])
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = os.environ.get("SCREENSHOTS")
    return PROJECT_ROOT / folder if folder else tmp_path_factory.mktemp("screenshots")


def drop(browser: Browser, selector: str, *paths: Path) -> None:
    """Drag files from the desktop onto an element."""
    box = json.loads(browser.evaluate(f"JSON.stringify(document.querySelector('{selector}').getBoundingClientRect())"))
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(path.resolve()) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.call("Input.dispatchDragEvent", type=kind, data=data, **place)


def unlike(image: bytes, side: int = 32) -> bytes:
    """A picture of neither class, of which the model is unsure: noise over what is left of one."""
    noisy = drifted(image, "noisier", random.Random(7), ("bicycle", "motorcycle"))
    with Image.open(io.BytesIO(noisy)) as opened:
        buffer = io.BytesIO()
        opened.resize((side // 4, side // 4)).resize((side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_reviewer_drops_pictures_and_sees_their_outcomes(
    cloud: LocalCloud,
    environment: Environment,
    confident_images: list[str],
    tmp_path: Path,
    screenshots: Path,
) -> None:
    s3 = boto3.client("s3")
    pictures: dict[str, bytes] = {
        f"{Path(key).stem}.png": s3.get_object(Bucket=environment.bucket, Key=key)["Body"].read()
        for key in confident_images[:3]
    }
    confident = next(iter(pictures.values()))
    pictures |= {HOSTILE: confident, "torn.png": confident[:100], "unlike.png": unlike(confident)}
    for name, data in pictures.items():
        (tmp_path / name).write_bytes(data)

    with (
        person(cloud, policy("Reviewer")) as reviewer,
        console(reviewer.variables) as address,
        started(tmp_path / "profile", LOOPBACK_ONLY) as browser,
    ):
        browser.look(width=1280, height=1000)
        browser.open(address)
        assert "InService" in browser.text()
        assert browser.evaluate("document.querySelectorAll('.missing-part:not(:empty)').length") == 0, browser.text()

        browser.evaluate("document.querySelector('a[href=\"/classify\"]').click()")
        browser.wait_for("Page.loadEventFired")
        drop(browser, "#drop", *(tmp_path / name for name in pictures))
        browser.wait_until(
            f"document.querySelectorAll('figure').length === {len(pictures)}"
            " && !document.querySelector('[data-pending]')"
        )
        found = captions(browser)
        shown_hostile = HOSTILE.replace("\u202e", "\\u202e")
        assert set(found) == {*pictures, shown_hostile} - {HOSTILE}
        for name in (*list(pictures)[:3], shown_hostile):
            assert "accepted" in found[name], found[name]
        assert "refused" in found["torn.png"]
        assert "CorruptImageError" in found["torn.png"]
        browser.wait_until("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        browser.screenshot(screenshots / "console-classify.png")

        browser.evaluate("document.querySelector('figcaption a').click()")
        browser.wait_for("Page.loadEventFired")
        assert "SerializeImageData → Classifier → FilterConfidence" in browser.text()
        assert browser.evaluate("document.querySelectorAll('svg').length") == 2
        browser.look(width=1280, height=1400)
        browser.screenshot(screenshots / "console-execution.png")

        browser.open(address)
        counted = browser.evaluate("[...document.querySelectorAll('.tables tr')].map((row) => row.innerText).join()")
        assert re.search(r"accepted\s+([4-9]|\d\d+)\s", counted), counted
        browser.look(width=1280, height=1250)
        browser.screenshot(screenshots / "console-now.png")
        for width, scheme in ((360, "dark"), (768, "light")):
            browser.look(width=width, scheme=scheme)
            root = "document.documentElement"
            assert browser.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
        assert browser.evaluate("document.title").startswith("Now,")
        assert browser.console == []
        # Of bulk runs: one that does not exist is not taken for one that may not be seen
        for workflow in ("scones-dev-DistributedMap", "scones-dev-BatchTransform"):
            browser.evaluate(f"location.assign('/executions/{workflow}/none')")
            browser.wait_until("document.body?.innerText.includes('There is no execution none')")


def captions(browser: Browser) -> dict[str, str]:
    """What is below each picture, by the name of its file."""
    found: list[tuple[str, str]] = browser.evaluate(
        "[...document.querySelectorAll('figcaption')].map((caption) =>"
        " [caption.querySelector('strong').textContent, caption.innerText])"
    )
    return dict(found)


@pytest.fixture
def candidate(environment: Environment) -> Iterator[str]:
    """A model package that waits for approval, of a model that differs from the one in service on two images."""
    sagemaker, s3 = boto3.client("sagemaker"), boto3.client("s3")
    served = job_of(read_records(s3, environment.bucket)[-1].artifact_uri)
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=environment.bucket, Prefix="test/")["Contents"]]
    written = []
    for job, unlike_key in ((served, 0), ("scones-dev-candidate-1", 2)):
        images = [
            {"key": key, "label": 0, "probabilities": [0.1, 0.9] if number < unlike_key else [0.8, 0.2]}
            for number, key in enumerate(keys[:10])
        ]
        written.append(document_key(job, "predictions"))
        body = json.dumps({"images": images}).encode()
        s3.put_object(Bucket=environment.bucket, Key=written[-1], Body=body)
    package = sagemaker.create_model_package(
        ModelPackageGroupName=environment.config.model_package_group,
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties={"training-job": "scones-dev-candidate-1"},
    )["ModelPackageArn"]
    yield package
    sagemaker.delete_model_package(ModelPackageName=package)
    for key in written:
        s3.delete_object(Bucket=environment.bucket, Key=key)


def test_an_approver_compares_a_candidate_and_approves_it(
    cloud: LocalCloud, candidate: str, tmp_path: Path, screenshots: Path
) -> None:
    with (
        person(cloud, policy("Reviewer"), policy("Approver")) as approver,
        console(approver.variables) as address,
        started(tmp_path / "profile", LOOPBACK_ONLY) as browser,
    ):
        browser.look(width=1280, height=1250)
        browser.open(address)
        browser.evaluate("document.querySelector('a[href=\"/models\"]').click()")
        browser.wait_for("Page.loadEventFired")
        assert "Your credentials are missing" not in browser.text()
        assert "2 images on which they differ" in browser.text()
        browser.wait_until("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        browser.screenshot(screenshots / "console-models.png")
        browser.evaluate("document.querySelector('button[value=Approved]').click()")
        browser.wait_for("Page.loadEventFired")
        assert "No model." in browser.text()
        assert browser.console == []
    described = boto3.client("sagemaker").describe_model_package(ModelPackageName=candidate)
    assert described["ModelApprovalStatus"] == "Approved"
    assert "user/person-" in described["ApprovalDescription"]


def test_a_reviewer_alone_decides_on_no_model(cloud: LocalCloud, candidate: str) -> None:
    with person(cloud, policy("Reviewer")) as reviewer:
        sagemaker = reviewer.session.client("sagemaker")
        with pytest.raises(ClientError, match="AccessDenied"):
            sagemaker.update_model_package(ModelPackageArn=candidate, ModelApprovalStatus="Approved")
    described = boto3.client("sagemaker").describe_model_package(ModelPackageName=candidate)
    assert described["ModelApprovalStatus"] == "PendingManualApproval"


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("put_object", {"Key": "incoming/a.png", "Body": b""}),  # it may only create
        ("put_object", {"Key": "test/a.png", "Body": b"", "IfNoneMatch": "*"}),
        ("delete_object", {"Key": "incoming/a.png"}),
        ("get_object", {"Key": "models/any/output/model.tar.gz"}),
    ],
)
def test_a_reviewer_may_do_nothing_else_in_the_bucket(
    cloud: LocalCloud, environment: Environment, operation: str, request_: dict[str, Any]
) -> None:
    with person(cloud, policy("Reviewer")) as reviewer:
        call = getattr(reviewer.session.client("s3"), operation)
        with pytest.raises(ClientError, match="AccessDenied"):
            call(Bucket=environment.bucket, **request_)


def test_somebody_without_the_policy_gets_one_line_that_names_what_is_missing(
    cloud: LocalCloud, environment: Environment
) -> None:
    with person(cloud) as somebody:
        ended = subprocess.run(
            [sys.executable, "-m", "ops", "console", "--env", "dev"],
            cwd=PROJECT_ROOT,
            env=somebody.variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "DescribeStacks" in line


def test_the_local_cloud_opens_the_console_which_no_interrupted_command_ends(cloud: LocalCloud) -> None:
    address = cloud.open_console("dev")
    (process,) = [process for process in _recorded(cloud.directory) if process.program == CONSOLE]
    LocalCloud.stop_commands(cloud.directory)
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", address.removeprefix(f"http://{urlsplit(address).netloc}"))
        assert connection.getresponse().status == 303
    process.stop()
    assert not process.is_ours()
