"""The local cloud: the synthesized environment in an AWS emulator, with a trained model behind its endpoint."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import boto3
import typer
from rich.console import Console
from rich.table import Table

from data_prep.aws_errors import one_line_errors
from data_prep.errors import DataPrepError
from local import deployment
from local import drift as drift_story
from local import retraining as retraining_story
from local.cloud import CLIENT_PREFIXES, DIRECTORY, LocalCloud, LocalCloudError
from local.demonstration import (
    Environment,
    Execution,
    Inbox,
    LabelledImage,
    UnexpectedError,
    check_execution,
    labelled_images,
    wait_for,
)
from local.drift import Chapter
from stacks.config import PROJECT_ROOT, ConfigError, EnvironmentConfig, load_environment
from stacks.shared import prefixes

DATASET = DIRECTORY / "dataset"
LISTED_IMAGES = 60

app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console(highlight=False)

EnvironmentName = Annotated[str, typer.Option("--env", help="An environment of cdk.json.")]
Archive = Annotated[
    Path | None,
    typer.Option(help="A CIFAR-100 archive. Default: download the official one, or generate synthetic data."),
]


@app.command()
def up() -> None:
    """Start the AWS emulator and the stand-in for SageMaker, on free ports of 127.0.0.1."""
    with _stage("Emulator and SageMaker stand-in"):
        cloud = LocalCloud.start()
    _say(f"AWS at {cloud.emulator.url}, SageMaker at {cloud.sagemaker.url}; logs in {_short(cloud.directory)}")


@app.command()
def env() -> None:
    """Print what points a shell's AWS tools at the running local cloud: `eval "$(python -m local env)"`."""
    try:
        cloud = LocalCloud.running()
    except LocalCloudError:
        typer.echo("false")  # evaluating nothing would succeed, and what follows would reach the real account
        raise
    environment = cloud.environment
    # Credentials and endpoints that the shell already has would take precedence
    for name in os.environ:
        if name.startswith("AWS_") and name not in environment:
            typer.echo(f"unset {name}")
    for name, value in environment.items():
        if name.startswith(CLIENT_PREFIXES):
            typer.echo(f"export {name}={shlex.quote(value)}")


@app.command(
    name="exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: python -m local exec aws s3 ls",
)
def exec_(command: Annotated[list[str], typer.Argument(help="A program and its arguments.")]) -> None:
    """Run a command against the running local cloud. Nothing runs if there is none."""
    # It is the user's own command, as in a shell that evaluated `env`: it keeps what does not lead to AWS
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {**own, **LocalCloud.running().environment}
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - its status and its signals are the command's own
    except OSError as error:
        raise LocalCloudError(f"cannot run {command[0]}: {error.strerror}") from None


@app.command()
def deploy(env: EnvironmentName = "dev") -> None:
    """Run `cdk bootstrap` and `cdk deploy`; the model's stacks wait until a model is trained."""
    cloud, config = _running(env)
    with _stage("cdk synth and bootstrap"), ThreadPoolExecutor() as pool:
        bootstrapped = pool.submit(deployment.bootstrap, cloud)
        assembly = deployment.synthesize(cloud)
        bootstrapped.result()
    _deploy(cloud, config, assembly)


@app.command()
def train(env: EnvironmentName = "dev", archive: Archive = None) -> None:
    """Build the data set, upload it, train the stand-in model, and tell SSM of the artifact."""
    cloud, config = _running(env)
    _build_dataset(cloud, config, archive)
    _upload_and_train(cloud, config)


@app.command()
def run(env: EnvironmentName = "dev") -> None:
    """Classify test images through the deployed workflow, with IAM enforced, and check what happened."""
    cloud, config = _running(env)
    _classify(cloud, config)


@app.command()
def drift(
    env: EnvironmentName = "dev",
    archive: Archive = None,
    keep: Annotated[bool, typer.Option(help="Leave the local cloud running at the end.")] = False,
) -> None:
    """Traffic as usual, then drifted traffic: the metric crosses the bound, the alarm fires, the message arrives.

    Uses the local cloud that runs, if there is one.
    """
    config = _environment(env)
    if LocalCloud.is_running():
        cloud, _ = _running(env)
        _tell_of_drift(cloud, config)
        return
    try:
        _tell_of_drift(_everything_deployed(config, archive), config)
    finally:
        if not keep:
            LocalCloud.stop_running()


@app.command()
def retrain(
    env: EnvironmentName = "dev",
    archive: Archive = None,
    keep: Annotated[bool, typer.Option(help="Leave the local cloud running at the end.")] = False,
) -> None:
    """Drift starts a run, one candidate is rejected, one fails its canary, one is released; no request fails."""
    config = _environment(env)
    try:
        cloud = _everything_deployed(config, archive)
        cloud.enforce_iam()
        retraining_story.tell_story(Environment.deployed(config), cloud, DATASET, _say)
    finally:
        if not keep:
            LocalCloud.stop_running()


@app.command()
def down() -> None:
    """Stop what `up` started."""
    LocalCloud.stop_running()


@app.command(name="all")
def all_(
    env: EnvironmentName = "dev",
    archive: Archive = None,
    keep: Annotated[bool, typer.Option(help="Leave the local cloud running at the end.")] = False,
) -> None:
    """All of it: start, build data, deploy, train, classify, stop."""
    config = _environment(env)
    started = time.monotonic()
    try:
        cloud = _everything_deployed(config, archive)
        _classify(cloud, config)
        _say(f"\nAll checks passed in {time.monotonic() - started:.0f} s.")
    finally:
        if not keep:
            LocalCloud.stop_running()


def _environment(name: str) -> EnvironmentConfig:
    """Raises LocalCloudError for what only AWS can run."""
    config = load_environment(name)
    if config.endpoint.kind != "realtime":
        raise LocalCloudError(
            f"environment {name!r} has a {config.endpoint.kind} endpoint, and the local cloud runs realtime ones only: "
            f"deploy it to AWS, or set endpoint.kind to realtime in cdk.json for the local run"
        )
    return config


def _everything_deployed(config: EnvironmentConfig, archive: Path | None) -> LocalCloud:
    with _stage("Emulator and SageMaker stand-in"):
        cloud = LocalCloud.start()
    cloud.use()
    with _stage("cdk synth, cdk bootstrap, data set"), ThreadPoolExecutor() as pool:
        bootstrapped = pool.submit(deployment.bootstrap, cloud)
        synthesized = pool.submit(deployment.synthesize, cloud)
        _build_dataset(cloud, config, archive)
        bootstrapped.result()
        assembly = synthesized.result()
    with _stage(f'cdk deploy "{config.name}/Data"'):
        deployment.deploy(cloud, assembly, f"{config.name}/Data")
    _upload_and_train(cloud, config)
    _deploy(cloud, config, assembly)
    return cloud


def _tell_of_drift(cloud: LocalCloud, config: EnvironmentConfig) -> None:
    cloud.enforce_iam()
    with _stage("Drift: traffic as usual, then at night"):
        drift_story.tell_story(Environment.deployed(config), DATASET, _show_chapter)


def _show_chapter(title: str, chapter: Chapter) -> None:
    report = chapter.report
    _say(f"\n{title}")
    _say(f"  {chapter.images} images, {chapter.rejected} rejected")
    _say(f"  drift monitor: PSI {report['score']:.3f} (bound {report['bound']}), verdict {report['verdict']}")
    for name in ("confidence", "classes"):
        found = report[name]
        _say(
            f"    {name:10} PSI {found['psi']:.3f}, chi-squared {found['chi_squared']:.1f}, "
            f"p = {found['p_value']:.2g}; baseline {found['baseline_counts']}, window {found['counts']}"
        )
    _say(f"  alarm: {chapter.alarm_state}")
    for alarm in chapter.alarms:
        _say(f"  SNS message: {alarm['AlarmName']} is {alarm['NewStateValue']}: {alarm['NewStateReason']}")
        _say(f"    {alarm['AlarmDescription']}")


def _deploy(cloud: LocalCloud, config: EnvironmentConfig, assembly: Path) -> None:
    parameters = boto3.client("ssm").get_parameters(Names=[config.artifact_parameter])["Parameters"]
    pattern = f"{config.name}/*" if parameters else f"{config.name}/Data"
    with _stage(f'cdk deploy "{pattern}"'):
        deployment.deploy(cloud, assembly, pattern)
    if not parameters:
        _say("No model is trained yet: run `python -m local train`, then `deploy` again for the rest.")


def _build_dataset(cloud: LocalCloud, config: EnvironmentConfig, archive: Path | None) -> None:
    source = ["--archive", str(archive)] if archive else []
    _data_prep(cloud, "build", "--env", config.name, "--output", str(DATASET), *source)


def _upload_and_train(cloud: LocalCloud, config: EnvironmentConfig) -> None:
    for command in ("upload", "train"):
        with _stage(f"data_prep {command}"):
            _data_prep(cloud, command, "--env", config.name, "--dataset", str(DATASET))
    with _stage("data_prep baseline"):
        _data_prep(cloud, "baseline", "--env", config.name)


def _data_prep(cloud: LocalCloud, *arguments: str) -> None:
    """One of the commands that users run against AWS, pointed at the local cloud."""
    status = cloud.run([sys.executable, "-m", "data_prep", *arguments], program="data_prep")
    if status:
        raise LocalCloudError(f"`python -m data_prep {arguments[0]}` ended with status {status}")


def _classify(cloud: LocalCloud, config: EnvironmentConfig) -> None:
    environment = Environment.deployed(config)
    inbox = Inbox(environment.alert_topic_arn)
    images = labelled_images(DATASET, config.classes, at_most=LISTED_IMAGES + 1)
    listed, uploaded = images[:-1], images[-1]
    data = boto3.client("s3").get_object(Bucket=environment.bucket, Key=uploaded.key)["Body"].read()
    cloud.enforce_iam()

    with _stage(f"Workflow over a list of {len(listed)} images, IAM enforced"):
        execution = environment.classify([image.key for image in listed])
    check_execution(environment, execution, [image.key for image in listed])
    with _stage(f"Workflow started by an upload to {prefixes.INCOMING}"):
        name = PurePosixPath(uploaded.key).name
        by_upload = environment.classify_upload(name, data)
    incoming = LabelledImage(f"{prefixes.INCOMING}{name}", uploaded.true_class)
    check_execution(environment, by_upload, [incoming.key])
    with _stage("Data capture of every request"):
        expected = len(listed) + 1
        wait_for(lambda: len(environment.captured_inference_ids()) >= expected or None, f"{expected} captures")

    truth = {image.key: image.true_class for image in (*listed, incoming)}
    outcomes = execution.manifest["outcomes"] + by_upload.manifest["outcomes"]
    _show_outcomes(outcomes, truth)
    _show_accuracy(outcomes, truth, config)
    _show_messages(inbox, [execution, by_upload])
    _show_places(environment, execution, by_upload)
    _report(cloud, config, environment, outcomes, truth)


def _show_outcomes(outcomes: list[dict[str, Any]], truth: dict[str, str]) -> None:
    colours = {"ACCEPTED": "green", "REJECTED": "yellow", "FAILED": "red"}
    table = Table("image", "true", "predicted", "confidence", "outcome", box=None, header_style="bold", pad_edge=False)
    table.columns[0].overflow = "fold"
    table.columns[3].justify = "right"
    for outcome in outcomes:
        label, true_class = outcome["label"], truth[outcome["s3_key"]]
        table.add_row(
            outcome["s3_key"],
            true_class,
            label if label == true_class else f"[red]{label}[/]",
            f"{outcome['confidence']:.3f}",
            f"[{colours[outcome['outcome']]}]{outcome['outcome']}[/]",
        )
    console.print()
    console.print(table)


def _show_accuracy(outcomes: list[dict[str, Any]], truth: dict[str, str], config: EnvironmentConfig) -> None:
    def accuracy(selected: list[dict[str, Any]]) -> str:
        correct = sum(outcome["label"] == truth[outcome["s3_key"]] for outcome in selected)
        return f"{correct} of {len(selected)} right ({correct / len(selected):.1%})" if selected else "none"

    accepted = [outcome for outcome in outcomes if outcome["outcome"] == "ACCEPTED"]
    _say(f"\nAll images: {accuracy(outcomes)}")
    _say(f"Accepted, confidence at least {config.confidence_threshold}: {accuracy(accepted)}")
    _say(f"Rejected: {len(outcomes) - len(accepted)}")


def _show_messages(inbox: Inbox, executions: list[Execution]) -> None:
    expected = sum(execution.counts["REJECTED"] > 0 for execution in executions)
    messages: list[dict[str, str]] = []

    def arrived() -> bool | None:
        messages.extend(inbox.messages())
        return True if len(messages) >= expected else None

    wait_for(arrived, f"{expected} messages of the alert topic")
    if len(messages) > expected:
        raise UnexpectedError(f"{len(messages)} messages of the alert topic instead of {expected}")
    for message in messages:
        _say(f"\nSNS message: {message['Subject']}")
        for line in message["Message"].splitlines()[:8]:
            _say(f"  {line}")


def _show_places(environment: Environment, execution: Execution, by_upload: Execution) -> None:
    _say("\nExecutions:   " + ", ".join(f"{e.status} in {e.seconds:.1f} s" for e in (execution, by_upload)))
    for name, prefix in (
        ("Predictions", prefixes.PREDICTIONS),
        ("Manifests", prefixes.MANIFESTS),
        ("Captures", f"{prefixes.DATA_CAPTURE}{environment.config.endpoint_name}/"),
    ):
        _say(f"{name + ':':13} {len(environment.keys(prefix)):3} objects below s3://{environment.bucket}/{prefix}")


def _report(
    cloud: LocalCloud,
    config: EnvironmentConfig,
    environment: Environment,
    outcomes: list[dict[str, Any]],
    truth: dict[str, str],
) -> None:
    """Tell the true classes, as people would do later, and write the report that shows captures and truth together."""
    environment.label(outcomes, truth)
    target = PROJECT_ROOT / "build" / f"{config.name}-report.html"
    status = subprocess.run(
        [sys.executable, "-m", "ops", "captures", "--env", config.name, "--since", "1h", "--html", str(target)],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        stdout=subprocess.DEVNULL,
        check=False,
    ).returncode
    if status:
        raise LocalCloudError(f"`python -m ops captures --html` ended with status {status}")
    _say(f"\nReport:       {target}")


def _running(env: str) -> tuple[LocalCloud, EnvironmentConfig]:
    config, cloud = _environment(env), LocalCloud.running()
    cloud.use()
    return cloud, config


@contextlib.contextmanager
def _stage(name: str) -> Iterator[None]:
    """One line with the time that the stage took; a spinner meanwhile where somebody watches."""
    started = time.monotonic()
    with console.status(name):
        yield
    _say(f"[green]✓[/] {name} [dim]{time.monotonic() - started:.1f} s[/]")


def _say(line: str) -> None:
    console.print(line, soft_wrap=True)


def _short(path: Path) -> str:
    return str(path.relative_to(PROJECT_ROOT))


def _interrupt(*_: object) -> None:
    # Once: whoever asks again must not interrupt the clean-up
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    LocalCloud.stop_commands()
    raise KeyboardInterrupt


def main() -> None:
    # A terminated run cleans up as one that was interrupted
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        with one_line_errors():
            app(prog_name="python -m local")
    except (ConfigError, DataPrepError, LocalCloudError, UnexpectedError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
