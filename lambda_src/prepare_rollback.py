"""PrepareRollback: find the model that was served before, as a candidate that needs no gate."""

from collections.abc import Mapping, Sequence
from typing import Any

from lambda_src import prepare_evaluation, release
from lambda_src.release_log import Record, records
from lambda_src.retraining_errors import NoEarlierReleaseError


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Takes `{"job"}`, "" for the one before; answers as PrepareEvaluation does."""
    job = event.get("job") or earlier_job(records(), served_job=release.served().job)
    return prepare_evaluation.handler({"job": job}, context)


def earlier_job(history: Sequence[Record], *, served_job: str) -> str:
    """The job served before the served one was first released; raises NoEarlierReleaseError.

    First: after A, B and a rollback to A, another rollback does not go forward to B.
    """
    jobs = [release.job_of(record.artifact_uri) for record in history if record.is_in_service]
    before = jobs[: jobs.index(served_job)] if served_job in jobs else jobs
    if not before:
        raise NoEarlierReleaseError(
            f"no release before {served_job} is recorded: name the training job to go back to with --to"
        )
    return before[-1]
