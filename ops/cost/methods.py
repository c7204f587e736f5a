"""The ways to classify images, as quantities per image, per execution and per month.

Quantities come from the synthesized templates (memory, architecture, instances, alarms, what is logged) and from counts
measured in executions' own histories (ops/counts.json); prices from stacks/shared/prices.json. What neither can tell,
as nothing of this has run on AWS, is in `Assumptions`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.cost.deployment import Deployment, watching
from ops.cost.quantities import HOURS_A_MONTH, Quantities, dollars, total
from ops.counts import Counts
from stacks.config import EnvironmentConfig

# A function's process that nobody needs ends after some minutes, so no more of them than these start for want of work
_COLD_STARTS_A_MONTH = HOURS_A_MONTH * 60 / 5


@dataclass(frozen=True)
class Assumptions:
    """What only a run on AWS would tell."""

    # Of one image on one instance: the original notebook's own measurement of its endpoint
    inference_seconds: float = 0.2004
    # Of a function, billed since 2025-08-01: the runtime's start, and the imports that benchmarks/functions.py times
    init_seconds: float = 0.5
    s3_seconds: float = 0.03  # one small GET or PUT from a function
    log_bytes_per_invocation: int = 900  # START and REPORT in JSON
    metric_bytes_per_image: int = 700  # the embedded metrics of FilterConfidence
    log_bytes_per_event: int = 450  # of a state machine, without data; about five events a state
    events_per_state: int = 5
    express_gb: float = 0.0625  # the smallest step of 64 MB
    transform_start_seconds: float = 240  # until an instance answers, which is paid
    images_per_capture_file: int = 20
    kilobytes_per_image: float = 4  # to a serverless endpoint and back
    record_bytes_per_image: int = 150  # what a serverless endpoint's predictions add to the log


_STEPS = ("SerializeImageData", "Classifier", "FilterConfidence")


@dataclass(frozen=True)
class Method:
    """One way, as quantities per execution, per image and per month."""

    name: str
    per_image: Quantities
    per_execution: Quantities
    cold: Quantities  # more, of an execution that finds no function running
    idle: Quantities
    images_per_execution: int | None  # None: all in one
    endpoint: tuple[str, int] | None  # instance type and count that answer at most so many images a month
    endpoint_hours: float = HOURS_A_MONTH

    def month(self, images: int, prices: Mapping[str, float]) -> float:
        """Dollars of a month with so many images; an endpoint that cannot keep up gets the instances it needs."""
        cost = self.run(images, prices) + dollars(self.idle, prices)
        if self.endpoint:
            instance_type, count = self.endpoint
            needed = images * Assumptions().inference_seconds / 3600
            hours = max(count * self.endpoint_hours, needed)
            cost += dollars({f"sagemaker.instance_hour.{instance_type}": hours}, prices)
        return cost

    def run(self, images: int, prices: Mapping[str, float]) -> float:
        """Dollars of classifying so many images, in an environment that is there anyway."""
        executions = math.ceil(images / (self.images_per_execution or max(images, 1)))
        return (
            images * dollars(self.per_image, prices)
            + executions * dollars(self.per_execution, prices)
            + min(executions, _COLD_STARTS_A_MONTH) * dollars(self.cold, prices)
        )

    def marginal(self, prices: Mapping[str, float]) -> float:
        """Dollars of one image more, in a long run, without the instances of the endpoint."""
        each = dollars(self.per_image, prices)
        if self.images_per_execution:
            each += dollars(self.per_execution, prices) / self.images_per_execution
        return each


def methods(
    deployment: Deployment, config: EnvironmentConfig, measured: Mapping[str, Counts], assume: Assumptions
) -> list[Method]:
    """The original's design and the four of this project."""
    idle = watching(deployment)
    per_image, fixed = transitions(measured)
    logged = assume.events_per_state * assume.log_bytes_per_event / 1e9 if deployment.logs_states else 0
    batch, transform_type = config.bulk_batch_size, f"sagemaker.instance_hour.{config.bulk.transform_instance_type}"
    inference = {
        "sagemaker.serverless_gb_second": deployment.serverless_gb * assume.inference_seconds,
        "sagemaker.serverless_data_gb": assume.kilobytes_per_image / 1e6,
        "cloudwatch.log_gb": assume.record_bytes_per_image / 1e9,
    }
    captures = 0 if deployment.serverless_gb else config.endpoint.capture_percentage / 100
    through_the_endpoint = total(
        _invocations(
            deployment,
            assume,
            {
                "SerializeImageData": assume.s3_seconds,
                "Classifier": assume.inference_seconds,
                "FilterConfidence": assume.s3_seconds,
            },
        ),
        {"s3.get": 1, "s3.put": 1 + captures / assume.images_per_capture_file},
        {"cloudwatch.log_gb": assume.metric_bytes_per_image / 1e9},
        inference if deployment.serverless_gb else {},
    )

    def of_a_batch(seconds_per_image: float) -> dict[str, float]:
        """An image's part of its Express child: its start, its request and its time."""
        gb_seconds = assume.express_gb * seconds_per_image / config.bulk_images_at_once
        return {
            "states.transition": 1 / batch,
            "states.express_request": 1 / batch,
            "states.express_gb_second": gb_seconds,
        }

    def of_a_run(workflow: str) -> dict[str, float]:
        return {"states.transition": measured[workflow].states_entered + 1, "sns.publish": 1, "s3.put": 3}

    return [
        original(assume),
        *(
            Method(
                name,
                per_image=total(
                    through_the_endpoint, {"states.transition": per_image, "cloudwatch.log_gb": per_image * logged}
                ),
                per_execution={"states.transition": fixed, "cloudwatch.log_gb": fixed * logged, "s3.put": 1},
                cold=_inits(deployment, assume, _STEPS, copies=min(images, config.map_concurrency)),
                idle=idle,
                images_per_execution=images,
                endpoint=deployment.endpoint,
                endpoint_hours=deployment.endpoint_hours,
            )
            for name, images in (("single uploads", 1), ("inline Map", 500))
        ),
        Method(
            "Distributed Map",
            per_image=total(
                through_the_endpoint,
                {"s3.get": 2},  # to look for a prediction: the image's head, and a key that is not there
                _invocations(
                    deployment, assume, {"FindPredictions": 2 * assume.s3_seconds * batch / 8}, share=1 / batch
                ),
                of_a_batch(2 * assume.s3_seconds + assume.inference_seconds),
            ),
            per_execution=of_a_run("distributed-map"),
            cold=_inits(deployment, assume, (*_STEPS, "FindPredictions"), copies=config.bulk_concurrency),
            idle=idle,
            images_per_execution=None,
            endpoint=deployment.endpoint,
            endpoint_hours=deployment.endpoint_hours,
        ),
        Method(
            "Batch Transform",
            per_image=total(
                _invocations(
                    deployment,
                    assume,
                    {"ReadTransformOutput": 2 * assume.s3_seconds, "FilterConfidence": assume.s3_seconds},
                ),
                # The job reads the image and writes an answer; the function reads the image's head and the answer
                {"s3.get": 3, "s3.put": 2, transform_type: assume.inference_seconds / 3600},
                {"cloudwatch.log_gb": assume.metric_bytes_per_image / 1e9},
                of_a_batch(3 * assume.s3_seconds),
            ),
            per_execution=total(
                of_a_run("batch-transform"),
                {transform_type: config.bulk.transform_instance_count * assume.transform_start_seconds / 3600},
            ),
            cold=_inits(
                deployment, assume, ("ReadTransformOutput", "FilterConfidence"), copies=config.bulk_concurrency
            ),
            idle={},
            images_per_execution=None,
            endpoint=None,
        ),
    ]


def transitions(measured: Mapping[str, Counts]) -> tuple[float, float]:
    """State transitions of the inline workflow, per image and per execution, from one image and from several."""
    single, several = measured["inline-1"], measured["inline"]
    per_image = (several.states_entered - single.states_entered) / (several.images - single.images)
    return per_image, single.states_entered - per_image * single.images + 1  # reaching the end counts as well


def original(assume: Assumptions) -> Method:
    """The notebook's: one Standard execution of three states an image, functions of 128 MB, an ml.m5.xlarge."""
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


def _invocations(
    deployment: Deployment, assume: Assumptions, seconds: Mapping[str, float], *, share: float = 1
) -> dict[str, float]:
    """Requests, GB-seconds and logs of functions that run for so long; `share` of each falls to an image."""
    parts = []
    for name, duration in seconds.items():
        memory_gb, architecture = deployment.functions[name]
        parts.append(
            {
                "lambda.request": share,
                f"lambda.gb_second.{architecture}": share * memory_gb * duration,
                "cloudwatch.log_gb": share * assume.log_bytes_per_invocation / 1e9,
            }
        )
    return total(*parts)


def _inits(deployment: Deployment, assume: Assumptions, names: Sequence[str], *, copies: int) -> dict[str, float]:
    """GB-seconds of so many copies of functions that start."""
    return total(
        *(
            {f"lambda.gb_second.{architecture}": copies * memory_gb * assume.init_seconds}
            for memory_gb, architecture in (deployment.functions[name] for name in names)
        )
    )


@dataclass(frozen=True)
class Range:
    """From `images` a month on, this method is the cheapest."""

    images: int
    method: Method


def cheapest(choices: Sequence[Method], images: int, prices: Mapping[str, float]) -> Method:
    """Whose price is known."""

    def price(method: Method) -> float:
        month = method.month(images, prices)
        return math.inf if math.isnan(month) else month

    return min(choices, key=price)


def ranges(choices: Sequence[Method], prices: Mapping[str, float], *, most: int = 10**9) -> list[Range]:
    """Which method is the cheapest from how many images on: where the lines cross, to the image."""
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
