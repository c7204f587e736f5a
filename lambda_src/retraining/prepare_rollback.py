"""PrepareRollback: find a model that was served before, as a candidate that needs no gate."""

from collections.abc import Mapping, Sequence
from typing import Any

from lambda_src.retraining import release
from lambda_src.retraining.errors import NoEarlierReleaseError, NotReleasedError
from lambda_src.shared.release_history import Record, records

_NAMED = 10  # releases in a message


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"job"}`, "" for the one before; returns what PrepareEvaluation does.

    Raises NotReleasedError, or NoEarlierReleaseError.
    """
    history = records()
    job = event.get("job") or earlier_job(history, served_job=release.served().job)
    check_released(job, history)
    return release.candidate_and_incumbent(job)


def earlier_job(history: Sequence[Record], *, served_job: str) -> str:
    """The job served before the served one was first released; raises NoEarlierReleaseError.

    First: after A, B and a rollback to A, another rollback does not go forward to B.
    """
    jobs = _released_jobs(history)
    before = jobs[: jobs.index(served_job)] if served_job in jobs else jobs
    if not before:
        raise NoEarlierReleaseError(
            f"no release before {served_job} is recorded: name one of its releases with --to ({_named(jobs)})"
        )
    return before[-1]


def check_released(job: object, history: Sequence[Record]) -> None:
    """Raise NotReleasedError unless the endpoint has served the job's model.

    A rollback passes neither gate nor approval, so it may only go where both have led before.
    """
    jobs = _released_jobs(history)
    if job not in jobs:
        raise NotReleasedError(
            f"training job {str(job)[:100]!r} was never released, so there is no rollback to it. Released: "
            f"{_named(jobs)}. Anything else goes through the gate: `python -m ops retrain`"
        )


def _released_jobs(history: Sequence[Record]) -> list[str]:
    """Oldest first, one for each time that the endpoint came into service."""
    return [release.job_of(record.artifact_uri) for record in history if record.is_in_service]


def _named(jobs: Sequence[str]) -> str:
    """Each once, the newest first."""
    newest = list(dict.fromkeys(reversed(jobs)))
    rest = f" and {len(newest) - _NAMED} more" if len(newest) > _NAMED else ""
    return ", ".join(newest[:_NAMED]) + rest or "none"
