"""The review scenario: pictures with low confidence become the next model, through a reviewer at the console.

Pictures taken at night reach the workflow, which rejects many of them. A scripted reviewer labels those in a real
browser, one key each, and publishes them; that starts retraining. The candidate is better on the new pictures and not
worse on the old ones, so it is released, with traffic on the endpoint; and of new pictures at night fewer are rejected.
"""

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import numpy as np
from PIL import Image, ImageFilter

from data_prep.options import EnvironmentName
from data_prep.sample import draw_image
from lambda_src.shared.model_documents import document_key
from local.browser import LOOPBACK_ONLY, Browser, started
from local.cloud import LocalCloud, LocalCloudError
from local.demonstration import Environment, Execution, UnexpectedError, labelled_images, wait_for
from local.lifecycle import deployed
from local.options import Archive, Keep
from local.prepare import data_set_of
from local.retraining import CLIENTS, Retraining, Run, Traffic
from local.terminal import console, say
from stacks.config import EndpointConfig, load_environment
from stacks.shared import prefixes

PICTURES = 400
KEYS = "1234567890"
_SHOWN = "document.getElementById('picture')"
_IS_READY = f"document.readyState === 'complete' && (!{_SHOWN} || {_SHOWN}.naturalWidth > 0)"


@dataclass(frozen=True)
class Night:
    """The outcomes of pictures taken at night."""

    pictures: int
    rejected: int
    correct: int

    @classmethod
    def of(cls, execution: Execution, truth: Mapping[str, str]) -> "Night":
        if execution.counts["FAILED"]:
            raise UnexpectedError(f"{execution.counts['FAILED']} images failed: {execution.arn}")
        outcomes = execution.manifest["outcomes"]
        correct = sum(outcome["label"] == truth[outcome["s3_key"]] for outcome in outcomes)
        return cls(len(outcomes), execution.counts["REJECTED"], correct)

    def __str__(self) -> str:
        return (
            f"{self.pictures} pictures at night: {self.rejected / self.pictures:.0%} rejected, "
            f"{self.correct / self.pictures:.0%} of the predictions are correct"
        )


def review(env: EnvironmentName = "dev", archive: Archive = None, keep: Keep = True) -> None:
    """Pictures at night are rejected, labelled in a browser and published; the next model rejects fewer of them.

    Uses the local cloud that runs, if there is one, and if the environment was never retrained in it.
    """
    config = load_environment(env)
    with (
        tempfile.TemporaryDirectory() as profile,
        started(Path(profile), LOOPBACK_ONLY) as browser,  # first, because there may be none
        deployed(config, archive, keep=keep) as cloud,
    ):
        environment = Environment.deployed(config)
        if Retraining.deployed(environment).executions():
            raise LocalCloudError(
                f"environment {env!r} has been retrained in this local cloud, and this scenario begins before the "
                "first time: `python -m local down`, and run this again"
            )
        cloud.enforce_iam()
        with console.status("Review") as status:
            run_scenario(environment, cloud, data_set_of(environment), browser, say, status.update)


def run_scenario(  # noqa: PLR0917 - as the other scenarios, and the browser
    environment: Environment,
    cloud: LocalCloud,
    dataset: Path,
    browser: Browser,
    report: Callable[[str], None],
    show: Callable[[str], None],
    *,
    pictures: int = PICTURES,
) -> None:
    """Run the scenario in an environment that was never retrained; raises UnexpectedError if a step fails.

    report: called with each line about what happened. show: called with what is in progress.
    """
    retraining, classes = Retraining.deployed(environment), environment.config.classes
    show("Pictures taken at night")
    first = upload_night(environment, pictures, name="first", seed=1)
    before = Night.of(environment.classify(list(first)), first)
    report(f"\nBefore: {before}")

    show("The reviewer labels them in a browser")
    browser.open(cloud.open_console(environment.config.name))
    labelled = label_all(browser, first, classes)
    report(f"  A reviewer labels the {labelled} rejected ones in the console, with one key each, and publishes them")
    _expect(labelled == before.rejected, f"{before.rejected} were rejected, and {labelled} labelled")

    bodies = [(dataset / image.key).read_bytes() for image in labelled_images(dataset, classes, at_most=10)]
    known = set(retraining.executions())
    with Traffic(environment.config.endpoint_name, bodies, clients=clients_of(environment.config.endpoint)) as traffic:
        for line in publish(browser):
            report(f"  {line}")
        (arn,) = wait_for(lambda: set(retraining.executions()) - known or None, "a run that the new data starts")
        run = retraining.follow(arn, show)
        report("\n  Retraining: " + " > ".join(dict.fromkeys(run.states)))
        _expect(run.outcome == "Released", f"{run.arn} ended in {run.outcome}: {run.cause or run.output}")
    old, new = (accuracy_by_source(environment, run, role) for role in ("incumbent", "candidate"))
    for source in ("original", "reviewed"):
        report(f"  Accuracy on the {source} validation images: {old[source]:.3f} before, {new[source]:.3f} now")
    report(f"  {traffic.sent} requests to the endpoint meanwhile, {len(traffic.failures)} failed")
    _expect(not traffic.failures, f"{len(traffic.failures)} requests failed, the first with {traffic.failures[:1]}")

    show("More pictures taken at night")
    second = upload_night(environment, pictures, name="second", seed=2)
    after = Night.of(environment.classify(list(second)), second)
    report(f"\nAfter: {after}; they are other pictures than before")
    margin = environment.config.retraining.margin
    _expect(new["reviewed"] > old["reviewed"], "the candidate should be better on the new pictures")
    _expect(new["original"] >= old["original"] - margin, "the candidate should not be worse on the old pictures")
    _expect(after.rejected < before.rejected, "fewer pictures should be rejected than before")


def at_night(pixels: Any) -> Image.Image:
    """A tenth of the light and out of focus, like a hand-held photo without a flash."""
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.5)), dtype=np.float64)
    return Image.fromarray((blurred * 0.1).astype(np.uint8))


def upload_night(environment: Environment, count: int, *, name: str, seed: int) -> dict[str, str]:
    """Upload new pictures, which are in no data set, below `scheduled/`; returns their classes by key."""
    s3, random, classes = boto3.client("s3"), np.random.default_rng(seed), environment.config.classes
    truth = {}
    for number in range(count):
        label = classes[number % len(classes)]
        buffer = io.BytesIO()
        at_night(draw_image(label, random)).save(buffer, "PNG")
        key = f"{prefixes.SCHEDULED}night-{name}/{number:03}.png"
        s3.put_object(Bucket=environment.bucket, Key=key, Body=buffer.getvalue())
        truth[key] = label
    return truth


def label_all(browser: Browser, truth: Mapping[str, str], classes: tuple[str, ...]) -> int:
    """Label every picture in the queue whose class is known, skip the others, and return the number of labels."""
    browser.evaluate("document.querySelector('a[href=\"/review\"]').click()")
    labelled, image = 0, "none yet"
    while True:
        browser.wait_until(f"{_IS_READY} && location.pathname === '/review' && {_image()} !== {json.dumps(image)}")
        image = browser.evaluate(_image())
        if not image:
            return labelled
        address = urlsplit(browser.evaluate(f"{_SHOWN}.src"))
        key = parse_qs(address.query)["key"][0]
        labelled += key in truth
        browser.press(KEYS[classes.index(truth[key])] if key in truth else "s")


def publish(browser: Browser) -> list[str]:
    """Click the button, and return the page's message."""
    browser.evaluate("document.querySelector('form[action=\"/review/publish\"] button').click()")
    lines = "ul[role=status] li, .missing-part:not(:empty)"
    said = f"[...document.querySelectorAll('{lines}')].map((line) => line.innerText)"
    browser.wait_until(f"location.pathname === '/review/publish' && {_IS_READY} && {said}.length")
    return [str(line) for line in browser.evaluate(said)]


def accuracy_by_source(environment: Environment, run: Run, role: str) -> dict[str, float]:
    """Accuracy of a model that the run evaluated, on the validation images of each source."""
    job = run.output["models"][role]["job"]
    body = boto3.client("s3").get_object(Bucket=environment.bucket, Key=document_key(job, "predictions"))["Body"].read()
    correct: dict[str, list[bool]] = {"original": [], "reviewed": []}
    for prediction in json.loads(body)["images"]:
        source = "reviewed" if prediction["key"].startswith(f"{prefixes.TEST}reviewed/") else "original"
        correct[source].append(np.argmax(prediction["probabilities"]) == prediction["label"])
    if not correct["reviewed"]:
        raise UnexpectedError(f"no reviewed picture among the validation images of {run.arn}")
    return {source: float(np.mean(found)) for source, found in correct.items()}


def clients_of(endpoint: EndpointConfig) -> int:
    """Concurrent requests that a serverless endpoint does not throttle, with room for the smoke test."""
    most = endpoint.serverless_max_concurrency - 1 if endpoint.kind == "serverless" else CLIENTS
    return max(1, min(CLIENTS, most))


def _image() -> str:
    """The id of the picture that the page shows, or the empty string."""
    return "(document.querySelector('#label [name=image]')?.value ?? '')"


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise UnexpectedError(what)
