"""Traffic for a deployed environment: requests at a steady rate, and what became of each.

What is sent depends on the seed only, not on threads or on time. What became of it is asked of Step Functions'
listing and of the manifests: not one call per execution, so that neither quota is used up.
"""

import contextlib
import json
import random
import threading
import time
import uuid
from collections import Counter, OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from data_prep.progress import Progress, silent
from lambda_src.ground_truth import label_line
from lambda_src.item import ImageRef
from lambda_src.json_reader import read_json
from ops import aws
from ops.aws import Deployment
from ops.errors import OpsError
from ops.latency import Latencies
from ops.pictures import Drift, broken, drifted
from stacks import prefixes

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import ExecutionListItemTypeDef

Via = Literal["executions", "uploads"]
Outcome = Literal["accepted", "rejected", "failed"]

_POLL_SECONDS = 1.0
_SENDERS = 16
_IN_FLIGHT = 64  # requests that wait to be sent; if the service is slower than the rate, the rate gives way
_LATE = timedelta(seconds=30)  # how much later than it started an execution may show in the listing
_CACHED_IMAGES = 256
_LABELS_PER_FILE = 10_000
_OUTCOMES: dict[str, Outcome] = {"ACCEPTED": "accepted", "REJECTED": "rejected", "FAILED": "failed"}


@dataclass(frozen=True)
class Plan:
    """What to send. `rate` is in images a second, and `bad` the share of inputs that cannot succeed."""

    classes: tuple[str, ...]
    images: int
    rate: float
    seed: int
    via: Via
    batch: int = 1  # images of one execution
    bad: float = 0.0
    drift: Drift | None = None
    drift_from: int = 0  # number of the first image that drifts
    label: bool = False

    @property
    def requests(self) -> int:
        return -(-self.images // self.batch)

    def size(self, number: int) -> int:
        """How many images a request has."""
        return min(self.batch, self.images - number * self.batch)


@dataclass
class Tally:
    """What became of the images so far."""

    sent: int = 0
    not_sent: int = 0
    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def finished(self) -> int:
        return self.accepted + self.rejected + self.failed

    @property
    def unfinished(self) -> int:
        return self.sent - self.finished

    def as_dict(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "failed": self.failed,
            "not_sent": self.not_sent,
            "unfinished": self.unfinished,
            "seconds": round(self.seconds, 3),
            "latency_seconds": {
                **{f"p{percent}": _rounded(self.latencies.percentile(percent)) for percent in (50, 90, 99)},
                "max": round(self.latencies.longest, 3),
            },
            "errors": dict(self.errors.most_common()),
        }


def test_images(bucket: str) -> list[str]:
    """Keys of the bucket's test images, in order; raises OpsError if there are none."""
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefixes.TEST)
    keys = [
        entry["Key"]
        for page in pages
        for entry in page.get("Contents", [])
        if PurePosixPath(entry["Key"]).suffix.lower() in {".png", ".jpg", ".jpeg"}
    ]
    if not keys:
        raise OpsError(f"s3://{bucket}/{prefixes.TEST} has no images: run `python -m data_prep upload` first")
    return keys


def true_classes(bucket: str, classes: tuple[str, ...]) -> dict[str, str]:
    """The class of each test image, by key; raises OpsError."""
    key = f"{prefixes.TEST_LST}test.lst"
    try:
        listing = aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    except aws.s3().exceptions.NoSuchKey:
        raise OpsError(f"s3://{bucket}/{key} is not there, so no true class is known: send without --label") from None
    lines = (line.split("\t") for line in listing.splitlines())
    return {f"{prefixes.TEST}{path}": classes[int(float(label))] for _, label, path in lines}


def choose(keys: list[str], count: int, rng: random.Random) -> list[str]:
    """`count` keys at random; none twice before all were taken."""
    chosen: list[str] = []
    while len(chosen) < count:
        chosen += rng.sample(keys, min(len(keys), count - len(chosen)))
    return chosen


def item(bucket: str, key: str) -> dict[str, str]:
    """A workflow input in the original's form."""
    return {"image_data": "", "s3_bucket": bucket, "s3_key": key}


class Traffic:
    """One run: sends what a plan says, and follows it to its end."""

    def __init__(self, plan: Plan, deployment: Deployment, *, progress: Progress = silent) -> None:
        self.plan = plan
        self.tally = Tally()
        self.name = f"traffic-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
        self._deployment = deployment
        self._progress = progress
        self._keys = test_images(deployment.bucket)
        self._truth = true_classes(deployment.bucket, plan.classes) if plan.label else {}
        self._labels: dict[str, str] = {}
        self._label_files = 0
        self._images: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._pending: set[int] = set()
        self._since = datetime.now(UTC) - _LATE
        self._seen: dict[str, datetime] = {}
        self._problem: BaseException | None = None

    def run(self, *, settle_seconds: float) -> Tally:
        """Send, then wait at most `settle_seconds` for the last outcomes.

        An interruption (KeyboardInterrupt) ends the sending; a second one ends the waiting, too. Either way the tally
        says what happened, and the caller sees the interruption by `tally.sent < plan.images`.
        """
        stop, follower = threading.Event(), None
        try:
            follower = threading.Thread(target=self._follow_until, args=(stop,), daemon=True)
            follower.start()
            started = time.monotonic()
            self._send_all()
            self.tally.seconds = time.monotonic() - started
            with contextlib.suppress(KeyboardInterrupt):
                self._settle(settle_seconds)
        finally:
            stop.set()
            if follower:
                follower.join()
            self._store_labels()
        return self.tally

    def _send_all(self) -> None:
        slots = threading.Semaphore(_IN_FLIGHT)
        started = time.monotonic()

        def sent(future: "Future[None]") -> None:
            slots.release()
            if not future.cancelled() and (error := future.exception()):
                self._problem = error  # a mistake of ours: what AWS refuses is counted

        pool = ThreadPoolExecutor(_SENDERS)
        try:
            for number in range(self.plan.requests):
                wait = started + number * self.plan.batch / self.plan.rate - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                slots.acquire()
                if self._problem:
                    break
                pool.submit(self._send, number).add_done_callback(sent)
            pool.shutdown()
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
        if self._problem:
            raise self._problem

    def _send(self, number: int) -> None:
        size = self.plan.size(number)
        with self._lock:
            self._pending.add(number)
            self.tally.sent += size
        try:
            if self.plan.via == "executions":
                aws.stepfunctions().start_execution(
                    stateMachineArn=self._deployment.state_machine_arn,
                    name=f"{self.name}-{number}",
                    input=json.dumps(self._execution_input(number)),
                )
            else:
                self._upload(number)
        except (ClientError, BotoCoreError) as error:
            with self._lock:
                self._pending.discard(number)
                self.tally.sent -= size
                self.tally.not_sent += size
                self.tally.errors[f"not sent: {type(error).__name__}: {error}"[:160]] += size
        self._progress("sent", self.tally.sent, self.plan.images)

    def _execution_input(self, number: int) -> dict[str, Any]:
        items = [self._item(number * self.plan.batch + offset) for offset in range(self.plan.size(number))]
        return items[0] if self.plan.batch == 1 else {"images": items}

    def _item(self, image: int) -> dict[str, Any]:
        rng = self._rng(image)
        is_bad = rng.random() < self.plan.bad
        key = rng.choice(self._keys)
        if not is_bad:
            self._label(ImageRef(self._deployment.bucket, key, None), key)
            return item(self._deployment.bucket, key)
        match rng.randrange(3):
            case 0:
                return item(self._deployment.bucket, f"{prefixes.TEST}no-such-image-{image}.png")
            case 1:
                return item(self._deployment.bucket, f"{prefixes.TEST_LST}test.lst")
            case _:
                return {"image_data": "", "s3_bucket": self._deployment.bucket}

    def _upload(self, number: int) -> None:
        rng = self._rng(number)
        is_bad = rng.random() < self.plan.bad
        key = rng.choice(self._keys)
        data = self._image(key)
        has_drifted = self.plan.drift is not None and number >= self.plan.drift_from
        if is_bad:
            data = broken(data, rng)
        elif self.plan.drift and has_drifted:
            data = drifted(data, self.plan.drift, rng, self.plan.classes)
        target = f"{prefixes.INCOMING}{self.name}/{number}.png"
        version = aws.s3().put_object(Bucket=self._deployment.bucket, Key=target, Body=data).get("VersionId")
        if not is_bad and not (has_drifted and self.plan.drift == "other"):
            self._label(ImageRef(self._deployment.bucket, target, version), key)

    def _rng(self, image: int) -> random.Random:
        return random.Random(f"{self.plan.seed}/{image}")  # noqa: S311 - to be repeatable, not secret

    def _image(self, key: str) -> bytes:
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        data = aws.s3().get_object(Bucket=self._deployment.bucket, Key=key)["Body"].read()
        with self._lock:
            self._images[key] = data
            if len(self._images) > _CACHED_IMAGES:
                self._images.popitem(last=False)
        return data

    def _label(self, image: ImageRef, test_key: str) -> None:
        if test_key not in self._truth:
            return
        with self._lock:
            self._labels[f"{image.key}/{image.version_id}"] = label_line(image, self._truth[test_key])
            is_full = len(self._labels) >= _LABELS_PER_FILE
        if is_full:
            self._store_labels()

    def _store_labels(self) -> None:
        with self._lock:
            lines, self._labels = list(self._labels.values()), {}
            self._label_files += 1
            number = self._label_files
        if lines:
            aws.s3().put_object(
                Bucket=self._deployment.bucket,
                Key=f"{prefixes.GROUND_TRUTH}{datetime.now(UTC):%Y/%m/%d/%H}/{self.name}-{number}.jsonl",
                Body="".join(f"{line}\n" for line in lines).encode(),
            )

    def _settle(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._pending and time.monotonic() < deadline:
            time.sleep(0.1)

    def _follow_until(self, stop: threading.Event) -> None:
        with ThreadPoolExecutor(_SENDERS) as pool:
            while not stop.wait(_POLL_SECONDS):
                try:
                    self._follow(pool)
                except (ClientError, BotoCoreError) as error:  # a look that fails is made up for by the next
                    self._note_failed_look(error)
                self._progress("finished", self.tally.finished, self.plan.images)

    def _follow(self, pool: ThreadPoolExecutor) -> None:
        """Look at every execution that has ended since the last look. The listing begins with the newest."""
        pages = (
            aws.stepfunctions()
            .get_paginator("list_executions")
            .paginate(stateMachineArn=self._deployment.state_machine_arn, PaginationConfig={"PageSize": 200})
        )
        newest = oldest_open = None
        ended: list[ExecutionListItemTypeDef] = []
        for execution in (execution for page in pages for execution in page["executions"]):
            start = execution["startDate"]
            if start < self._since:
                break
            newest = newest or start
            if execution["status"] == "RUNNING":
                oldest_open = start
            elif execution["name"] not in self._seen:
                ended.append(execution)
        for execution, is_done in zip(ended, pool.map(self._is_looked_at, ended), strict=True):
            start = execution["startDate"]
            if is_done:
                self._seen[execution["name"]] = start
            else:
                oldest_open = min(oldest_open or start, start)
        if newest:  # what lies before this has ended and was seen: it need not be listed again
            self._since = max(self._since, min(newest - _LATE, oldest_open or newest))
            self._seen = {name: start for name, start in self._seen.items() if start >= self._since}

    def _is_looked_at(self, execution: "ExecutionListItemTypeDef") -> bool:
        try:
            self._look_at(execution)
        except (ClientError, BotoCoreError) as error:
            self._note_failed_look(error)
            return False
        return True

    def _note_failed_look(self, error: Exception) -> None:
        with self._lock:
            self.tally.errors[f"not followed at once: {type(error).__name__}: {error}"[:160]] += 1

    def _look_at(self, execution: "ExecutionListItemTypeDef") -> None:
        name = execution["name"]
        is_mine = name.startswith(f"{self.name}-")
        if self.plan.via == "executions" and not is_mine:
            return
        if is_mine and execution["status"] == "SUCCEEDED":
            number, outcomes = int(name.rpartition("-")[2]), None
        else:
            manifest = self._manifest(name)
            outcomes = (manifest or {}).get("outcomes", [])
            found = int(name.rpartition("-")[2]) if is_mine else self._number_of(execution, outcomes)
            if found is None:
                return
            number = found
        self._count(number, outcomes, execution)

    def _number_of(self, execution: "ExecutionListItemTypeDef", outcomes: list[dict[str, Any]]) -> int | None:
        """Which upload started an execution, None if none of this run."""
        if outcomes:
            key = str(outcomes[0].get("s3_key"))
        else:
            described = aws.stepfunctions().describe_execution(executionArn=execution["executionArn"])
            try:
                key = str(json.loads(described.get("input", "{}"))["s3_key"])
            except (ValueError, KeyError, TypeError):
                return None
        folder, _, name = key.rpartition("/")
        return int(name.removesuffix(".png")) if folder == f"{prefixes.INCOMING}{self.name}" else None

    def _manifest(self, name: str) -> dict[str, Any] | None:
        try:
            response = aws.s3().get_object(Bucket=self._deployment.bucket, Key=f"{prefixes.MANIFESTS}{name}.json")
        except aws.s3().exceptions.NoSuchKey:
            return None
        return read_json(response["Body"], name=f"{prefixes.MANIFESTS}{name}.json")

    def _count(self, number: int, outcomes: list[dict[str, Any]] | None, execution: "ExecutionListItemTypeDef") -> None:
        size = self.plan.size(number)
        with self._lock:
            if number not in self._pending:  # an event may be delivered twice
                return
            self._pending.discard(number)
            self.tally.latencies.add((execution["stopDate"] - execution["startDate"]).total_seconds())
            if outcomes is None:
                self.tally.accepted += size
                return
            for outcome in outcomes:
                kind = _OUTCOMES[outcome["outcome"]]
                setattr(self.tally, kind, getattr(self.tally, kind) + 1)
                if kind == "failed":
                    self.tally.errors[str(outcome.get("error"))] += 1
            lost = size - len(outcomes)
            if lost > 0:  # the workflow itself broke before it had an outcome for each
                self.tally.failed += lost
                self.tally.errors[f"execution {execution['status']}"] += lost


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
