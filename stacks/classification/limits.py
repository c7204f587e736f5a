"""Limits of one execution of the classification workflow: its images, its output and its duration."""

import math

from stacks.shared.retry_policy import ImageRetries

MAX_IMAGES = 500
# The share of a state's 262,144 bytes that the outcomes of all images may take
MAX_OUTCOME_BYTES = 260_000


def longest_execution_seconds(map_concurrency: int, retries: ImageRetries) -> int:
    """Seconds that an execution takes if every attempt of every step of every image runs into its time-out.

    An execution that ended before that would lose outcomes, and waiting costs nothing. Includes an hour for the rest.
    """
    return math.ceil(MAX_IMAGES / map_concurrency) * retries.longest_seconds + 3600
