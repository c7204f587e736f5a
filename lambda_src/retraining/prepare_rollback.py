"""PrepareRollback: finds an earlier model of the endpoint, as a candidate that needs no gate."""

from collections.abc import Mapping, Sequence
from typing import Any

from lambda_src.retraining import release
from lambda_src.retraining.errors import NoEarlierReleaseError, NotReleasedError
from lambda_src.shared.release_history import Record, records

_NAMED = 10  # releases that a message lists


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"job"}`, which is "" for the previous release; returns what PrepareEvaluation returns.

    Raises NotReleasedError, NoEarlierReleaseError, or the errors of `release.candidate_and_incumbent`.
    """
    history = records()
    job = event.get("job") or earlier_job(history, served_job=release.served().job)
    check_released(job, history)
    return release.candidate_and_incumbent(job)


def earlier_job(history: Sequence[Record], *, served_job: str) -> str:
    """The job that was in service before the current one was first released; raises NoEarlierReleaseError.

    "First", so that after the releases A and B and a rollback to A, another rollback does not lead to B.
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

    A rollback skips gate and approval, so it may only lead to a model that was in service before.
    """
    jobs = _released_jobs(history)
    if job not in jobs:
        raise NotReleasedError(
            f"training job {str(job)[:100]!r} was never released, so there is no rollback to it. Released: "
            f"{_named(jobs)}. Anything else goes through the gate: `python -m ops retrain`"
        )


def _released_jobs(history: Sequence[Record]) -> list[str]:
    """The job of each release, oldest first."""
    return [release.job_of(record.artifact_uri) for record in history if record.is_in_service]


def _named(jobs: Sequence[str]) -> str:
    """The jobs for a message: each once, newest first."""
    newest = list(dict.fromkeys(reversed(jobs)))
    rest = f" and {len(newest) - _NAMED} more" if len(newest) > _NAMED else ""
    return ", ".join(newest[:_NAMED]) + rest or "none"
