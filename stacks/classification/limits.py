"""What one execution of the classification workflow takes, and how long it may take for it."""

import math

from stacks.shared.retry_policy import ImageRetries

MAX_IMAGES = 500
# What the outcomes of all images may occupy of a state's 262,144 bytes
MAX_OUTCOME_BYTES = 260_000


def longest_execution_seconds(map_concurrency: int, retries: ImageRetries) -> int:
    """Every attempt of every step of every image at its time-out: an execution that ended before would lose outcomes.

    Waiting costs nothing. An hour for the rest.
    """
    return math.ceil(MAX_IMAGES / map_concurrency) * retries.longest_seconds + 3600
