"""Runs of the retraining workflow, seen from outside: what was entered, how it ended, what the endpoint serves."""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local.demonstration import Environment, wait_for
from stacks import prefixes

RUN_TIMEOUT_SECONDS = 600  # a training takes minutes on a busy machine
TRAIN_LIST = f"{prefixes.TRAIN_LST}train.lst"


@dataclass(frozen=True)
class Run:
    """One finished execution: its input with what each step added, and the states that it went through."""

    arn: str
    status: str
    error: str
    cause: str
    output: dict[str, Any]
    states: list[str]

    @property
    def ending(self) -> str:
        """The last state, such as Released or Rejected."""
        return self.states[-1]


@dataclass(frozen=True)
class Retraining:
    """The deployed workflow of an environment."""

    environment: Environment
    state_machine_arn: str

    @classmethod
    def deployed(cls, environment: Environment) -> "Retraining":
        stack = boto3.client("cloudformation").describe_stacks(StackName=f"{environment.config.stage_name}-Retraining")[
            "Stacks"
        ][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        return cls(environment, outputs["StateMachineArn"])

    def start(self, **execution_input: Any) -> str:
        """Start a run by hand; returns its ARN."""
        answer = boto3.client("stepfunctions").start_execution(
            stateMachineArn=self.state_machine_arn, input=json.dumps(execution_input)
        )
        return answer["executionArn"]

    def run(self, **execution_input: Any) -> Run:
        return self.follow(self.start(**execution_input))

    def follow(self, arn: str) -> Run:
        """Wait for the end of a run."""
        client = boto3.client("stepfunctions")

        def ended() -> Run | None:
            described = client.describe_execution(executionArn=arn)
            if described["status"] == "RUNNING":
                return None
            return Run(
                arn=arn,
                status=described["status"],
                error=described.get("error", ""),
                cause=described.get("cause", ""),
                output=json.loads(described.get("output") or "{}"),
                states=self.states(arn),
            )

        return wait_for(ended, f"the end of {arn}", timeout_seconds=RUN_TIMEOUT_SECONDS)

    def states(self, arn: str) -> list[str]:
        """The states that a run has entered so far."""
        pages = boto3.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
        return [
            event["stateEnteredEventDetails"]["name"]
            for page in pages
            for event in page["events"]
            if "stateEnteredEventDetails" in event
        ]

    def executions(self) -> list[str]:
        """The ARNs of all runs, oldest first."""
        pages = (
            boto3.client("stepfunctions")
            .get_paginator("list_executions")
            .paginate(stateMachineArn=self.state_machine_arn)
        )
        listed = [execution for page in pages for execution in page["executions"]]
        return [execution["executionArn"] for execution in sorted(listed, key=lambda e: e["startDate"])]

    def served_artifact(self) -> str:
        """The artifact behind the endpoint."""
        sagemaker = boto3.client("sagemaker")
        endpoint = sagemaker.describe_endpoint(EndpointName=self.environment.config.endpoint_name)
        config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0].get("ModelName", ""))
        return model["PrimaryContainer"]["ModelDataUrl"]

    def named_artifact(self) -> str:
        """The artifact that the next deployment would serve."""
        name = self.environment.config.artifact_parameter
        return boto3.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]


class Traffic:
    """Requests to the endpoint, one after another from several threads, until told to stop.

    Few enough that the requests of a canary, which lasts seconds here, are over 1 % of those in the minute that the
    latency alarm looks at.
    """

    def __init__(
        self, endpoint_name: str, images: list[bytes], *, clients: int = 6, pause_seconds: float = 2.0
    ) -> None:
        self._endpoint_name = endpoint_name
        self._images = images
        self._pause = pause_seconds
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self.sent = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._send, args=(start,), daemon=True) for start in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _send(self, start: int) -> None:
        client = boto3.client("sagemaker-runtime", config=Config(retries={"total_max_attempts": 1}))
        number = start
        while not self._stopped.is_set():
            failure = ""
            try:
                client.invoke_endpoint(
                    EndpointName=self._endpoint_name,
                    ContentType="application/x-image",
                    Body=self._images[number % len(self._images)],
                )["Body"].read()
            except Exception as error:
                failure = repr(error)
            with self._lock:
                self.sent += 1
                if failure:
                    self.failures.append(failure)
            number += 1
            time.sleep(self._pause)


@dataclass(frozen=True)
class DataSet:
    """A data set in the bucket, whose list of training images can be changed and restored."""

    bucket: str
    folder: Path

    def restore(self) -> None:
        """As data_prep uploaded it."""
        for key in (TRAIN_LIST, "manifest.json"):
            self._put(key, (self.folder / key).read_bytes())

    def relabel(self, share: float) -> None:
        """Give a share of the training images another class's label, as a careless person would."""
        lines = self._lines()
        wrong = round(share * len(lines))
        labels = len({label for _, label, _ in lines})
        self._write(
            [(i, str((int(label) + 1) % labels) if n < wrong else label, p) for n, (i, label, p) in enumerate(lines)]
        )

    def keep(self, share: float) -> None:
        """Leave a share of the training images in the list, of each class alike."""
        lines = self._lines()
        by_label: dict[str, list[tuple[str, str, str]]] = {}
        for line in lines:
            by_label.setdefault(line[1], []).append(line)
        self._write([line for group in by_label.values() for line in group[: max(1, round(share * len(group)))]])

    def announce(self) -> None:
        """Say that the data set is whole, which starts retraining."""
        self._put(prefixes.READY_MARKER, b"")

    def _lines(self) -> list[tuple[str, str, str]]:
        text = (self.folder / TRAIN_LIST).read_text(encoding="utf-8")
        return [(index, label, path) for index, label, path in (line.split("\t") for line in text.splitlines())]

    def _write(self, lines: list[tuple[str, str, str]]) -> None:
        self._put(TRAIN_LIST, "".join("\t".join(line) + "\n" for line in lines).encode())
        # data_prep's manifest is that of other data now
        boto3.client("s3").delete_object(Bucket=self.bucket, Key="manifest.json")

    def _put(self, key: str, body: bytes) -> None:
        boto3.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)
