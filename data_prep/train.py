"""The command `train`: starts or finds a job, follows it on the terminal, and hands its model to the stacks."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from data_prep.dataset import default_folder
from data_prep.errors import InstanceRefusedError
from data_prep.instances import InstanceTypes
from data_prep.options import AsJson, DataSet, EnvironmentName, Quiet
from data_prep.progress import progress_bars
from data_prep.target import make_command
from data_prep.terminal import note, show
from data_prep.training import JobState, publish_model, start_training, wait_for_job
from stacks.config import EnvironmentConfig, load_environment

_BARS = "▁▂▃▄▅▆▇█"
_MAX_BARS = 60


def train(
    *,
    env: EnvironmentName = "dev",
    dataset: DataSet = None,
    spot: Annotated[
        bool | None,
        typer.Option("--spot/--no-spot", help="Use spot capacity; default is cdk.json's.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Start a job even if there is one for this data.")] = False,
    resume: Annotated[str | None, typer.Option(metavar="JOB", help="Follow this job instead of starting one.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the job to its end.")] = True,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train the environment's algorithm on the uploaded data set and hand the model to the stacks.

    You can interrupt and repeat it: with the same data and parameters it finds the running job, or reuses its model.
    """
    config = load_environment(env)
    if spot is not None:
        config = config.model_copy(update={"training": config.training.model_copy(update={"spot": spot})})
    folder = dataset or default_folder(env)
    if wait:
        state = (
            _follow(config, resume, quiet=quiet) if resume else train_model(config, folder, force=force, quiet=quiet)
        )
        hand_over_model(config, state, as_json=as_json)
    else:
        instances = InstanceTypes(config.training, note)
        job = resume or _start(config, folder, instances=instances, force=force, quiet=quiet)
        show({"job": job}, f"{job}\nFollow it with `{_resume_command(config, job)}`", as_json=as_json)


def train_model(config: EnvironmentConfig, folder: Path, *, force: bool, quiet: bool) -> JobState:
    """Start a job on the first available instance type, and follow it to its end."""
    instances = InstanceTypes(config.training, note)
    while True:
        job = _start(config, folder, instances=instances, force=force, quiet=quiet)
        try:
            return _follow(config, job, quiet=quiet)
        except InstanceRefusedError as error:
            instances.refuse(error.instance_type, error.reason)


def _start(config: EnvironmentConfig, folder: Path, *, instances: InstanceTypes, force: bool, quiet: bool) -> str:
    with progress_bars(quiet=quiet) as progress:
        job, is_new = start_training(config, folder, instances=instances, force=force, progress=progress)
    if not quiet:
        note(f"Started {job}" if is_new else f"Reusing {job} (same data and parameters)")
    return job


def _follow(config: EnvironmentConfig, job: str, *, quiet: bool) -> JobState:
    """Follow a job to its end. An interruption does not stop the job."""
    try:
        with job_view(quiet=quiet) as view:
            return wait_for_job(config, job, view)
    except KeyboardInterrupt:
        note(f"{job} keeps running; follow it again with `{_resume_command(config, job)}`")
        raise typer.Exit(130) from None


def hand_over_model(config: EnvironmentConfig, state: JobState, *, as_json: bool) -> None:
    model = publish_model(config, state)
    accuracy = "unknown" if model.accuracy is None else f"{model.accuracy:.3f}"
    show(
        asdict(model),
        f"{model.artifact_uri}\nvalidation accuracy {accuracy}, {state.billable_seconds} s billable\n"
        f"Deploy it with `{make_command('deploy', config.name)}`",
        as_json=as_json,
    )


def _resume_command(config: EnvironmentConfig, job: str) -> str:
    return f"python -m data_prep train --env {config.name} --resume {job}"


@contextmanager
def job_view(*, quiet: bool) -> Iterator[Callable[[JobState], None]]:
    """A table on stderr that shows each state passed to it; nothing if `quiet` or not on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        yield lambda state: live.update(job_table(state), refresh=True)


def job_table(state: JobState) -> Table:
    """Status, billable time and the validation accuracy by epoch."""
    table = Table(show_header=False, box=None)
    table.add_row("Job", state.name)
    table.add_row("Status", f"{state.status}: {state.secondary_status}  [dim]{escape(state.message)}[/dim]")
    table.add_row("Time", f"{state.training_seconds} s on {state.instance_type}, {state.billable_seconds} s billable")
    if state.accuracies:
        last = max(state.accuracies)
        best = max(state.accuracies, key=lambda epoch: state.accuracies[epoch])
        table.add_row(
            "Validation accuracy",
            f"{state.accuracies[last]:.3f} in epoch {last}, best {state.accuracies[best]:.3f} in epoch {best}",
        )
        table.add_row("", accuracy_bars([state.accuracies[epoch] for epoch in sorted(state.accuracies)]))
    return table


def accuracy_bars(accuracies: list[float]) -> str:
    """A bar for each epoch, from 0 to 1; only the last ones if there are many."""
    return "".join(_BARS[min(int(value * len(_BARS)), len(_BARS) - 1)] for value in accuracies[-_MAX_BARS:])
