"""`python -m ops review`."""

import typer
from rich.console import Console

from data_prep.options import EnvironmentName
from data_prep.progress import progress_bars
from data_prep.terminal import visible
from lambda_src.retraining.data_set_rules import ProblemGroups
from ops import aws
from ops.review.publication import Publication, publish
from stacks.config import load_environment

review = typer.Typer(no_args_is_help=True, help="Labels that people gave to pictures with low confidence.")


@review.callback()
def _group() -> None:
    """Makes `publish` a subcommand, although it is the only one."""


@review.command(name="publish", epilog="Example: python -m ops review publish --env dev")
def publish_command(
    env: EnvironmentName = "dev",
) -> None:
    """Add the reviewed pictures to the data set in the bucket, which starts retraining.

    Can be repeated and interrupted: what is published follows from the reviews and the data set.
    """
    config = load_environment(env)
    with progress_bars(quiet=False) as progress:
        found = publish(config, progress=progress)
    console = Console(highlight=False)
    for line in summary(found, aws.bucket(config), retrains=config.retraining.enabled):
        console.print(line, soft_wrap=True, markup=False)


def summary(found: Publication, bucket: str, *, retrains: bool) -> list[str]:
    """The result, one sentence per line."""
    if found.is_changed:
        said = (
            f"added {found.added['train']:,} to the training and {found.added['test']:,} to the validation images, "
            f"changed {found.relabelled:,} labels, removed {found.removed:,}"
        )
    else:
        said = "nothing is new"
    lines = [
        f"s3://{bucket}: {said}; the data set has {found.published:,} reviewed pictures",
        f"Left out: {found.neither:,} reviewed as neither class, {len(found.left_out):,} that cannot be trained on",
    ]
    reasons = ProblemGroups()
    for left in found.left_out:
        reasons.add(left.uri.removeprefix(f"s3://{bucket}/"), left.reason)
    lines += [f"  {visible(line)}" for line in reasons.lines()]
    if found.started:
        lines.append(
            "Retraining starts, unless a run has started too recently; `python -m ops retrain --force` does not wait"
            if retrains
            else "Retraining is off for new data (retraining.enabled): start it with `python -m ops retrain`"
        )
    return lines
