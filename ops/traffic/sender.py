"""Sends what a plan says at its rate, and keeps the true classes of what was sent.

What is sent depends on the seed only, not on threads or on time.
"""

import json
import random
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from data_prep.progress import Progress, silent
from lambda_src.monitoring.ground_truth import label_line
from lambda_src.shared.item import ImageRef
from ops import aws
from ops.pictures import broken, drifted
from ops.traffic.plan import Run, item, test_images, true_classes
from ops.traffic.tally import Tally
from stacks.shared import prefixes

_SENDERS = 16
_IN_FLIGHT = 64  # requests that wait to be sent; if the service is slower than the rate, the rate gives way
_CACHED_IMAGES = 256
_LABELS_PER_FILE = 10_000


class Sender:
    """Sends a run's requests; raises OpsError if the bucket has no test images or no true classes to label with."""

    def __init__(self, run: Run, tally: Tally, *, progress: Progress = silent) -> None:
        self._run = run
        self._plan = run.plan
        self._bucket = run.deployment.bucket
        self._tally = tally
        self._progress = progress
        self._keys = test_images(self._bucket)
        self._truth = true_classes(self._bucket, run.plan.classes) if run.plan.label else {}
        self._labels: dict[str, str] = {}
        self._label_files = 0
        self._images: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._problem: BaseException | None = None

    def send_all(self) -> None:
        """Send until all is sent, or until an interruption (KeyboardInterrupt)."""
        slots = threading.Semaphore(_IN_FLIGHT)
        started = time.monotonic()

        def sent(future: "Future[None]") -> None:
            slots.release()
            if not future.cancelled() and (error := future.exception()):
                self._problem = error  # a mistake of ours: what AWS refuses is counted

        pool = ThreadPoolExecutor(_SENDERS)
        try:
            for number in range(self._plan.requests):
                wait = started + number * self._plan.batch / self._plan.rate - time.monotonic()
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
        self._tally.send(number)
        try:
            if self._plan.via == "executions":
                aws.stepfunctions().start_execution(
                    stateMachineArn=self._run.deployment.state_machine_arn,
                    name=self._run.request_name(number),
                    input=json.dumps(self._execution_input(number)),
                )
            else:
                self._upload(number)
        except (ClientError, BotoCoreError) as error:
            self._tally.refuse(number, error)
        self._progress("sent", self._tally.sent, self._plan.images)

    def _execution_input(self, number: int) -> dict[str, Any]:
        items = [self._item(number * self._plan.batch + offset) for offset in range(self._plan.size(number))]
        return items[0] if self._plan.batch == 1 else {"images": items}

    def _item(self, image: int) -> dict[str, Any]:
        rng = self._rng(image)
        is_bad = rng.random() < self._plan.bad
        key = rng.choice(self._keys)
        if not is_bad:
            self._label(ImageRef(self._bucket, key, None), key)
            return item(self._bucket, key)
        match rng.randrange(3):
            case 0:
                return item(self._bucket, f"{prefixes.TEST}no-such-image-{image}.png")
            case 1:
                return item(self._bucket, f"{prefixes.TEST_LST}test.lst")
            case _:
                return {"image_data": "", "s3_bucket": self._bucket}

    def _upload(self, number: int) -> None:
        rng = self._rng(number)
        is_bad = rng.random() < self._plan.bad
        key = rng.choice(self._keys)
        data = self._image(key)
        has_drifted = self._plan.drift is not None and number >= self._plan.drift_from
        if is_bad:
            data = broken(data, rng)
        elif self._plan.drift and has_drifted:
            data = drifted(data, self._plan.drift, rng, self._plan.classes)
        target = self._run.request_name(number)
        version = aws.s3().put_object(Bucket=self._bucket, Key=target, Body=data).get("VersionId")
        if not is_bad and not (has_drifted and self._plan.drift == "other"):
            self._label(ImageRef(self._bucket, target, version), key)

    def _rng(self, image: int) -> random.Random:
        return random.Random(f"{self._plan.seed}/{image}")  # noqa: S311 - to be repeatable, not secret

    def _image(self, key: str) -> bytes:
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        data = aws.s3().get_object(Bucket=self._bucket, Key=key)["Body"].read()
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
            self.store_labels()

    def store_labels(self) -> None:
        """Put the labels that are not stored yet below ground-truth/."""
        with self._lock:
            lines, self._labels = list(self._labels.values()), {}
            self._label_files += 1
            number = self._label_files
        if lines:
            aws.s3().put_object(
                Bucket=self._bucket,
                Key=f"{prefixes.GROUND_TRUTH}{datetime.now(UTC):%Y/%m/%d/%H}/{self._run.name}-{number}.jsonl",
                Body="".join(f"{line}\n" for line in lines).encode(),
            )
