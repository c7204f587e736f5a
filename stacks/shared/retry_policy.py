"""The retriers of the workflows: which errors are retried, how often, and how long that takes at most.

Plain values without CDK, because the configuration and the time-outs are computed from them. The first retrier of a
state that names an error handles it, and each retrier counts its own attempts
(https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Above a function's time-out, so that the state reports the function's own error
STEP_TIMEOUT_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """One retrier of a state, with full jitter: each wait is a random share of the interval."""

    errors: tuple[str, ...]
    interval_seconds: int = 1
    max_attempts: int = 3
    backoff_rate: int = 2

    @property
    def longest_wait_seconds(self) -> int:
        return sum(self.interval_seconds * self.backoff_rate**attempt for attempt in range(self.max_attempts))


# Lambda throttles for as long as other invocations use the account's concurrency. Few attempts with long waits, 65 s on
# average in all, because each attempt adds three events to a history that holds 25,000.
THROTTLED = RetryPolicy(
    errors=("Lambda.TooManyRequestsException",), interval_seconds=10, max_attempts=3, backoff_rate=3
)
# The original workflow's retrier; THROTTLED, which comes first, handles its TooManyRequestsException. The last error is
# from https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
SERVICE = RetryPolicy(
    errors=(
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
        "Lambda.ClientExecutionTimeoutException",
    )
)
# The errors of lambda_src/shared/errors.py for which another attempt may succeed
TRANSIENT = RetryPolicy(errors=("EndpointUnavailableError", "StorageUnavailableError"))
# For calls of other services, each of which has its own names for errors
ANY_FAILURE = RetryPolicy(errors=("States.TaskFailed",))

INVOCATION = (THROTTLED, SERVICE)
STEP = (*INVOCATION, TRANSIENT)
# An Express execution has little time, so all these errors share two attempts
_EXPRESS_ERRORS = (*SERVICE.errors, *TRANSIENT.errors)
EXPRESS_STEP = (RetryPolicy(errors=_EXPRESS_ERRORS, interval_seconds=5, max_attempts=2),)

# For Classifier with a serverless endpoint: a request starts its container, which has three minutes to start
# (https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-invoke.html). Meanwhile the endpoint throttles
# requests beyond its concurrency. Five attempts with their waits last longer than three minutes.
COLD_START_TIMEOUT_SECONDS = 40
COLD_START = RetryPolicy(errors=TRANSIENT.errors, interval_seconds=10, max_attempts=4)
_EXPRESS_COLD = RetryPolicy(errors=_EXPRESS_ERRORS, interval_seconds=15, max_attempts=1)


def retriers(policies: Sequence[RetryPolicy]) -> list[dict[str, Any]]:
    """The policies in the form of a state's `Retry`."""
    return [
        {
            "ErrorEquals": list(policy.errors),
            "IntervalSeconds": policy.interval_seconds,
            "MaxAttempts": policy.max_attempts,
            "BackoffRate": policy.backoff_rate,
            "JitterStrategy": "FULL",
        }
        for policy in policies
    ]


def longest_seconds(retries: Sequence[RetryPolicy], *, timeout_seconds: int) -> int:
    """Seconds that a state takes if every attempt of every retrier runs into its time-out."""
    attempts = 1 + sum(policy.max_attempts for policy in retries)
    return attempts * timeout_seconds + sum(policy.longest_wait_seconds for policy in retries)


@dataclass(frozen=True, kw_only=True)
class ImageRetries:
    """The retries of an image's three steps; Classifier may have other ones than the rest."""

    step: tuple[RetryPolicy, ...]
    classifier: tuple[RetryPolicy, ...]
    classifier_timeout_seconds: int = STEP_TIMEOUT_SECONDS

    @property
    def longest_seconds(self) -> int:
        """Seconds that an image takes if every attempt of every step runs into its time-out."""
        return 2 * longest_seconds(self.step, timeout_seconds=STEP_TIMEOUT_SECONDS) + longest_seconds(
            self.classifier, timeout_seconds=self.classifier_timeout_seconds
        )


STANDARD = ImageRetries(step=STEP, classifier=STEP)
EXPRESS = ImageRetries(step=EXPRESS_STEP, classifier=EXPRESS_STEP)
STANDARD_SERVERLESS = ImageRetries(
    step=STEP, classifier=(*INVOCATION, COLD_START), classifier_timeout_seconds=COLD_START_TIMEOUT_SECONDS
)
EXPRESS_SERVERLESS = ImageRetries(
    step=EXPRESS_STEP, classifier=(_EXPRESS_COLD,), classifier_timeout_seconds=COLD_START_TIMEOUT_SECONDS
)


# A history holds 25,000 events: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html. One poll
# (wait, describe, decide) adds nine: two for each state, and three more for the call. A retraining run has at most four
# polling loops (training, approval, release, rollback), so 18,000 events; the rest is for retries and other states.
MAX_POLLS = 500


def poll_seconds(longest_wait_seconds: int) -> int:
    """Seconds between two polls of something that may take `longest_wait_seconds`."""
    return max(30, math.ceil(longest_wait_seconds / MAX_POLLS))


# Step Functions ends an Express execution after this time, and its output, the outcomes of its images, is lost:
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
EXPRESS_SECONDS = 300
# Seconds that an image takes without errors, with a wide margin: 0.5 s were measured
USUAL_IMAGE_SECONDS = 2


def start_within_seconds(retries: ImageRetries) -> int:
    """Seconds after which no image of a batch may start, so that it ends before the execution even with all retries."""
    return EXPRESS_SECONDS - retries.longest_seconds - 10
