"""The methods of classifying images, as billed quantities per image, per execution and per month.

The quantities come from the synthesized templates (memory, architecture, instances, alarms, log levels) and from the
histories of executions in the local cloud (ops/counts.json); the prices from stacks/shared/prices.json. `Assumptions`
has the rest, because nothing of this has run on AWS.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.cost.deployment import Deployment, watching
from ops.cost.quantities import HOURS_A_MONTH, Quantities, dollars, total
from ops.counts import Counts
from stacks.config import EnvironmentConfig

# Lambda keeps an unused function warm for some minutes, so a series of single executions has at most this many
_COLD_STARTS_A_MONTH = HOURS_A_MONTH * 60 / 5


@dataclass(frozen=True)
class Assumptions:
    """Values that only a run on AWS can measure."""

    # One image on one instance, as the original notebook measured its endpoint
    inference_seconds: float = 0.2004
    # Start of a function, billed since 2025-08-01: the runtime, and the imports that benchmarks/functions.py times
    init_seconds: float = 0.5
    s3_seconds: float = 0.03  # one small GET or PUT from a function
    log_bytes_per_invocation: int = 900  # START and REPORT in JSON
    metric_bytes_per_image: int = 700  # the embedded metrics of FilterConfidence
    log_bytes_per_event: int = 450  # of a state machine, without data
    events_per_state: int = 5
    express_gb: float = 0.0625  # the smallest step of 64 MB
    transform_start_seconds: float = 240  # billed, until an instance responds
    images_per_capture_file: int = 20
    kilobytes_per_image: float = 4  # to a serverless endpoint and back
    record_bytes_per_image: int = 150  # what a serverless endpoint's predictions add to the log


_STEPS = ("SerializeImageData", "Classifier", "FilterConfidence")


@dataclass(frozen=True)
class Method:
    """One method, as quantities per execution, per image and per month."""

    name: str
    per_image: Quantities
    per_execution: Quantities
    cold: Quantities  # added for an execution that finds no warm function
    idle: Quantities
    images_per_execution: int | None  # None: all in one execution
    endpoint: tuple[str, int] | None  # instance type and count
    endpoint_hours: float = HOURS_A_MONTH

    def month(self, images: int, prices: Mapping[str, float]) -> float:
        """Dollars of a month with this many images, with more instances if the endpoint needs them."""
        cost = self.run(images, prices) + dollars(self.idle, prices)
        if self.endpoint:
            instance_type, count = self.endpoint
            needed = images * Assumptions().inference_seconds / 3600
            hours = max(count * self.endpoint_hours, needed)
            cost += dollars({f"sagemaker.instance_hour.{instance_type}": hours}, prices)
        return cost

    def run(self, images: int, prices: Mapping[str, float]) -> float:
        """Dollars of classifying this many images in an existing environment."""
        executions = math.ceil(images / (self.images_per_execution or max(images, 1)))
        return (
            images * dollars(self.per_image, prices)
            + executions * dollars(self.per_execution, prices)
            + min(executions, _COLD_STARTS_A_MONTH) * dollars(self.cold, prices)
        )

    def marginal(self, prices: Mapping[str, float]) -> float:
        """Dollars of one more image in a long run, without the instances of the endpoint."""
        each = dollars(self.per_image, prices)
        if self.images_per_execution:
            each += dollars(self.per_execution, prices) / self.images_per_execution
        return each


def methods(
    deployment: Deployment, config: EnvironmentConfig, measured: Mapping[str, Counts], assume: Assumptions
) -> list[Method]:
    """The original's design, and the four methods of this project."""
    project = _Project(deployment, config, measured, assume)
    return [
        original(assume),
        project.inline("single uploads", images_per_execution=1),
        project.inline("inline Map", images_per_execution=500),
        project.distributed_map(),
        project.batch_transform(),
    ]


@dataclass(frozen=True)
class _Project:
    """Computes the quantities of this project's methods."""

    deployment: Deployment
    config: EnvironmentConfig
    measured: Mapping[str, Counts]
    assume: Assumptions

    def inline(self, name: str, *, images_per_execution: int) -> Method:
        per_image, fixed = transitions(self.measured)
        bytes_per_state = self.assume.events_per_state * self.assume.log_bytes_per_event
        log_gb = bytes_per_state / 1e9 if self.deployment.logs_states else 0
        return Method(
            name,
            per_image=total(
                self._three_functions(), {"states.transition": per_image, "cloudwatch.log_gb": per_image * log_gb}
            ),
            per_execution={"states.transition": fixed, "cloudwatch.log_gb": fixed * log_gb, "s3.put": 1},
            cold=self._inits(_STEPS, copies=min(images_per_execution, self.config.map_concurrency)),
            idle=watching(self.deployment),
            images_per_execution=images_per_execution,
            endpoint=self.deployment.endpoint,
            endpoint_hours=self.deployment.endpoint_hours,
        )

    def distributed_map(self) -> Method:
        assume, batch = self.assume, self.config.bulk_batch_size
        return Method(
            "Distributed Map",
            per_image=total(
                self._three_functions(),
                {"s3.get": 2},  # FindPredictions reads the image's metadata, and a prediction that does not exist
                self._invocations({"FindPredictions": 2 * assume.s3_seconds * batch / 8}, per_image=1 / batch),
                self._child_execution(2 * assume.s3_seconds + assume.inference_seconds),
            ),
            per_execution=self._execution("distributed-map"),
            cold=self._inits((*_STEPS, "FindPredictions"), copies=self.config.bulk_concurrency),
            idle=watching(self.deployment),
            images_per_execution=None,
            endpoint=self.deployment.endpoint,
            endpoint_hours=self.deployment.endpoint_hours,
        )

    def batch_transform(self) -> Method:
        assume, bulk = self.assume, self.config.bulk
        instance_hour = f"sagemaker.instance_hour.{bulk.transform_instance_type}"
        return Method(
            "Batch Transform",
            per_image=total(
                self._invocations(
                    {"ReadTransformOutput": 2 * assume.s3_seconds, "FilterConfidence": assume.s3_seconds}
                ),
                # The job reads the image and writes a response; the function reads the image's header and the response
                {"s3.get": 3, "s3.put": 2, instance_hour: assume.inference_seconds / 3600},
                {"cloudwatch.log_gb": assume.metric_bytes_per_image / 1e9},
                self._child_execution(3 * assume.s3_seconds),
            ),
            per_execution=total(
                self._execution("batch-transform"),
                {instance_hour: bulk.transform_instance_count * assume.transform_start_seconds / 3600},
            ),
            cold=self._inits(("ReadTransformOutput", "FilterConfidence"), copies=self.config.bulk_concurrency),
            idle={},
            images_per_execution=None,
            endpoint=None,
        )

    def _three_functions(self) -> dict[str, float]:
        """One image through the three functions and the endpoint, without state transitions."""
        assume, serverless_gb = self.assume, self.deployment.serverless_gb
        inference = {
            "sagemaker.serverless_gb_second": serverless_gb * assume.inference_seconds,
            "sagemaker.serverless_data_gb": assume.kilobytes_per_image / 1e6,
            "cloudwatch.log_gb": assume.record_bytes_per_image / 1e9,
        }
        captures = 0 if serverless_gb else self.config.endpoint.capture_percentage / 100
        return total(
            self._invocations(
                {
                    "SerializeImageData": assume.s3_seconds,
                    "Classifier": assume.inference_seconds,
                    "FilterConfidence": assume.s3_seconds,
                }
            ),
            {"s3.get": 1, "s3.put": 1 + captures / assume.images_per_capture_file},
            {"cloudwatch.log_gb": assume.metric_bytes_per_image / 1e9},
            inference if serverless_gb else {},
        )

    def _execution(self, workflow: str) -> dict[str, float]:
        """One execution of a bulk workflow, without its images."""
        states = self.measured[workflow].states_entered
        return {"states.transition": states + 1, "sns.publish": 1, "s3.put": 3}

    def _child_execution(self, seconds_per_image: float) -> dict[str, float]:
        """An image's share of the Express child execution of its batch: start, request and duration."""
        batch = self.config.bulk_batch_size
        return {
            "states.transition": 1 / batch,
            "states.express_request": 1 / batch,
            "states.express_gb_second": self.assume.express_gb * seconds_per_image / self.config.bulk_images_at_once,
        }

    def _invocations(self, seconds: Mapping[str, float], *, per_image: float = 1) -> dict[str, float]:
        """Requests, GB-seconds and logs of functions, by the duration of one invocation."""
        parts = []
        for name, duration in seconds.items():
            memory_gb, architecture = self.deployment.functions[name]
            parts.append(
                {
                    "lambda.request": per_image,
                    f"lambda.gb_second.{architecture}": per_image * memory_gb * duration,
                    "cloudwatch.log_gb": per_image * self.assume.log_bytes_per_invocation / 1e9,
                }
            )
        return total(*parts)

    def _inits(self, names: Sequence[str], *, copies: int) -> dict[str, float]:
        """GB-seconds of the cold starts of this many copies of each function."""
        return total(
            *(
                {f"lambda.gb_second.{architecture}": copies * memory_gb * self.assume.init_seconds}
                for memory_gb, architecture in (self.deployment.functions[name] for name in names)
            )
        )


def transitions(measured: Mapping[str, Counts]) -> tuple[float, float]:
    """State transitions of the inline workflow per image and per execution, from runs of one image and of several."""
    single, several = measured["inline-1"], measured["inline"]
    per_image = (several.states_entered - single.states_entered) / (several.images - single.images)
    return per_image, single.states_entered - per_image * single.images + 1  # the last transition is billed as well


def original(assume: Assumptions) -> Method:
    """The notebook's design: a Standard execution of three states per image, functions of 128 MB, an ml.m5.xlarge."""
    return Method(
        "original notebook",
        per_image={
            "states.transition": 3 + 1,
            "lambda.request": 3,
            "lambda.gb_second.x86_64": 0.125 * (assume.inference_seconds + assume.s3_seconds),
            "s3.get": 1,
            "s3.put": 1 / assume.images_per_capture_file,
            "cloudwatch.log_gb": 3 * assume.log_bytes_per_invocation / 1e9,
        },
        per_execution={},
        cold={"lambda.gb_second.x86_64": 3 * 0.125 * assume.init_seconds},
        idle={},
        images_per_execution=1,
        endpoint=("ml.m5.xlarge", 1),
    )


@dataclass(frozen=True)
class Range:
    """From this many images a month, the method is the cheapest."""

    images: int
    method: Method


def cheapest(choices: Sequence[Method], images: int, prices: Mapping[str, float]) -> Method:
    """The cheapest of the methods whose price is known."""

    def price(method: Method) -> float:
        month = method.month(images, prices)
        return math.inf if math.isnan(month) else month

    return min(choices, key=price)


def ranges(choices: Sequence[Method], prices: Mapping[str, float], *, most: int = 10**9) -> list[Range]:
    """The cheapest methods by images a month, with the exact number of images at which the next one takes over."""
    found = [Range(1, cheapest(choices, 1, prices))]
    low = 1
    while low < most:
        high = min(most, max(low + 1, round(low * 1.05)))
        method = cheapest(choices, high, prices)
        if method is not found[-1].method:
            below, above = low, high
            while above - below > 1:
                middle = (below + above) // 2
                below, above = (
                    (middle, above) if cheapest(choices, middle, prices) is found[-1].method else (below, middle)
                )
            found.append(Range(above, cheapest(choices, above, prices)))
        low = high
    return found
