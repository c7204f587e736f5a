"""What a workflow tries again, how often, and how long that takes at most.

Plain values without CDK: the configuration and the time-outs reckon with them. Of a state's retriers the first that
names the error decides; each counts its own attempts
(https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Above a function's time-out, so that the function's own error is what the state reports
STEP_TIMEOUT_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """One retrier of a state, with full jitter: each wait is a random part of its interval."""

    errors: tuple[str, ...]
    interval_seconds: int = 1
    max_attempts: int = 3
    backoff_rate: int = 2

    @property
    def longest_wait_seconds(self) -> int:
        return sum(self.interval_seconds * self.backoff_rate**attempt for attempt in range(self.max_attempts))


# Lambda refuses what is beyond the account's concurrency for as long as something else takes it. Few attempts with long
# waits, 65 s on average: each leaves three events in a history that holds 25,000.
THROTTLED = RetryPolicy(
    errors=("Lambda.TooManyRequestsException",), interval_seconds=10, max_attempts=3, backoff_rate=3
)
# The original workflow's retrier; its throttling is taken by the one before it. The last is AWS's own addition:
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
SERVICE = RetryPolicy(
    errors=(
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
        "Lambda.ClientExecutionTimeoutException",
    )
)
# Of the functions in lambda_src/shared/errors.py: what another attempt may get
TRANSIENT = RetryPolicy(errors=("EndpointUnavailableError", "StorageUnavailableError"))
# Of another service's call, which names its errors in its own way
ANY_FAILURE = RetryPolicy(errors=("States.TaskFailed",))

INVOCATION = (THROTTLED, SERVICE)
STEP = (*INVOCATION, TRANSIENT)
# Time is short in an Express execution, so all that another attempt may heal shares two
_EXPRESS_ERRORS = (*SERVICE.errors, *TRANSIENT.errors)
EXPRESS_STEP = (RetryPolicy(errors=_EXPRESS_ERRORS, interval_seconds=5, max_attempts=2),)

# Of Classifier where the endpoint is serverless: its container starts when a request comes, and has three minutes until
# it must answer (https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-invoke.html). Meanwhile the
# endpoint refuses requests beyond its concurrency. Five attempts and their waits last longer than that.
COLD_START_TIMEOUT_SECONDS = 40
COLD_START = RetryPolicy(errors=TRANSIENT.errors, interval_seconds=10, max_attempts=4)
_EXPRESS_COLD = RetryPolicy(errors=_EXPRESS_ERRORS, interval_seconds=15, max_attempts=1)


def retriers(policies: Sequence[RetryPolicy]) -> list[dict[str, Any]]:
    """As a state has them in its `Retry`."""
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
    """Seconds of a state that uses every retrier up, each attempt at its time-out."""
    attempts = 1 + sum(policy.max_attempts for policy in retries)
    return attempts * timeout_seconds + sum(policy.longest_wait_seconds for policy in retries)


@dataclass(frozen=True, kw_only=True)
class ImageRetries:
    """What the three steps of an image try again; Classifier may have more patience than the others."""

    step: tuple[RetryPolicy, ...]
    classifier: tuple[RetryPolicy, ...]
    classifier_timeout_seconds: int = STEP_TIMEOUT_SECONDS

    @property
    def longest_seconds(self) -> int:
        """Seconds of an image that uses every retrier of every step up."""
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


# A history holds 25,000 events: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html. A round that
# waits, looks and decides leaves nine of them: two of each state, and three more of the call. A retraining run has at
# most four such loops (training, approval, release and back), so 18,000; the rest is for looks that fail, and all else.
MAX_POLLS = 500


def poll_seconds(longest_wait_seconds: int) -> int:
    """Pause between two looks at something that may take so long."""
    return max(30, math.ceil(longest_wait_seconds / MAX_POLLS))


# An Express execution that has not ended by then takes the outcomes of its images with it, also of those that are
# stored: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
EXPRESS_SECONDS = 300
# What an image takes when nothing is wrong, with a wide margin: measured are 0.5 s
USUAL_IMAGE_SECONDS = 2


def start_within_seconds(retries: ImageRetries) -> int:
    """No image of a batch starts later than this: with every retrier used up it ends before the execution does."""
    return EXPRESS_SECONDS - retries.longest_seconds - 10
