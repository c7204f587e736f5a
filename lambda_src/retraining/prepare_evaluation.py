"""PrepareEvaluation: creates the candidate's model, beside the one in service."""

from collections.abc import Mapping
from typing import Any

from lambda_src.retraining import release


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"job"}`; returns `candidate` and `incumbent`, as `release.candidate_and_incumbent` does."""
    return release.candidate_and_incumbent(event["job"])
