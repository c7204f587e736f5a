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
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_prep.aws_errors import one_line_errors
from data_prep.dataset import default_folder
from data_prep.errors import DataPrepError
from data_prep.terminal import print_whole, visible
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
from local.dev import function_code, session
from local.dev.stream import Stream
from local.drift import Chapter
from stacks.config import PROJECT_ROOT, ConfigError, EnvironmentConfig, load_environment
from stacks.shared import prefixes

DATASET = DIRECTORY / "dataset"
PICTURES = DIRECTORY / "pictures"
LISTED_IMAGES = 60
MESSAGE_LINES = 8  # that are shown of a message of the topic
_NAMES = {"local.emulator": "the AWS emulator", "local.sagemaker": "the SageMaker stand-in"}

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
    typer.Option(
        help="A CIFAR-100 archive, which the local cloud remembers. Default: the one that it remembers, or else the "
        "official one, or else synthetic data.",
        show_default=False,
    ),
]
Keep = Annotated[bool, typer.Option("--keep/--no-keep", help="Leave the local cloud running at the end.")]


@app.command()
def up(
    archive: Archive = None,
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="Run `cdk bootstrap`, too.")] = False,
) -> None:
    """Start the AWS emulator and the stand-in for SageMaker, unless they run, on free ports of 127.0.0.1."""
    _remember(archive)
    cloud = LocalCloud.running() if LocalCloud.is_running() else _start()
    if bootstrap:
        with _stage("cdk bootstrap"):
            deployment.bootstrap(cloud)
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
        bootstrapped = pool.submit(deployment.bootstrap, cloud, config)
        assembly = deployment.synthesize(cloud, config.name)
        bootstrapped.result()
    _deploy(cloud, config, assembly)


@app.command()
def train(env: EnvironmentName = "dev", archive: Archive = None) -> None:
    """Build the data set, upload it, train the stand-in model, and tell SSM of the artifact."""
    cloud, config = _running(env)
    _remember(archive)
    _build_dataset(cloud, config, is_new=archive is not None)
    _upload_and_train(cloud, config, is_new=archive is not None)


@app.command()
def run(env: EnvironmentName = "dev") -> None:
    """Classify test images through the deployed workflow, with IAM enforced, and check what happened."""
    cloud, config = _running(env)
    _classify(cloud, config)


@app.command()
def drift(env: EnvironmentName = "dev", archive: Archive = None, keep: Keep = True) -> None:
    """Traffic as usual, then drifted traffic: the metric crosses the bound, the alarm fires, the message arrives.

    Writes the report of both to build/ENV-drift.html. Uses the local cloud that runs, if there is one and its drift
    alarm is not on.
    """
    config = _environment(env)
    with _deployed(config, archive, keep=keep) as cloud:
        _tell_of_drift(cloud, config)


@app.command()
def retrain(env: EnvironmentName = "dev", archive: Archive = None, keep: Keep = True) -> None:
    """Drift starts a run, one candidate is rejected, one fails its canary, one is released; no request fails.

    Uses the local cloud that runs, if there is one, and if the environment was never retrained in it.
    """
    config = _environment(env)
    with _deployed(config, archive, keep=keep) as cloud:
        environment = Environment.deployed(config)
        if retraining_story.Retraining.deployed(environment).executions():
            raise LocalCloudError(
                f"environment {env!r} has been retrained in this local cloud, maybe by its drift alarm, and this "
                "scenario begins before the first time: `python -m local down`, and run this again"
            )
        cloud.enforce_iam()
        data_set = _data_set(environment)
        with console.status("Retraining") as status:
            retraining_story.tell_story(environment, cloud, data_set, _say, status.update)


@app.command()
def dev(
    env: EnvironmentName = "dev",
    pictures: Annotated[Path, typer.Option(help="Pictures that appear in this folder are classified.")] = PICTURES,
) -> None:
    """Run what you save in the running local cloud within seconds; logs and outcomes in one stream, until Ctrl-C."""
    cloud, config = _running(env)
    try:
        environment = Environment.deployed(config)
    except ClientError:
        raise LocalCloudError(f"environment {env!r} is not deployed: run `python -m local deploy`") from None
    session.follow(cloud, environment, source=PROJECT_ROOT, pictures=pictures, stream=Stream(console))


@app.command()
def down() -> None:
    """Stop what `up` started, with all that was deployed in it."""
    stopped = [_NAMES.get(process.program, "a command") for process in LocalCloud.stop_running()]
    if stopped:
        _say(f"Stopped {' and '.join(stopped)}, with what was deployed; logs: {_short(DIRECTORY)}")
    else:
        _say("No local cloud was running")


@app.command(name="all")
def all_(env: EnvironmentName = "dev", archive: Archive = None, keep: Keep = True) -> None:
    """All of it, in a new local cloud: start, build data, deploy, train, classify. It goes on running."""
    config = _environment(env)
    started = time.monotonic()
    with _kept_running(keep=keep):
        cloud = _everything_deployed(config, archive)
        _classify(cloud, config)
        _say(f"\nAll checks passed in {time.monotonic() - started:.0f} s.")
        if keep:
            _show_what_next(config)


def _environment(name: str) -> EnvironmentConfig:
    """Raises LocalCloudError for what only AWS can run."""
    config = load_environment(name)
    if config.endpoint.kind != "realtime":
        raise LocalCloudError(
            f"environment {name!r} has a {config.endpoint.kind} endpoint, and the local cloud runs realtime ones only: "
            f"deploy it to AWS, or set endpoint.kind to realtime in cdk.json for the local run"
        )
    return config


@contextlib.contextmanager
def _deployed(config: EnvironmentConfig, archive: Path | None, *, keep: bool) -> Iterator[LocalCloud]:
    """The local cloud that runs, which is left as it is, or else a new one with the environment in it."""
    if LocalCloud.is_running():
        if archive:
            raise LocalCloudError(
                "--archive is for a new local cloud, and one is running: leave it out, or `python -m local down` first"
            )
        cloud, _ = _running(config.name)
        yield cloud
    else:
        with _kept_running(keep=keep):
            yield _everything_deployed(config, archive)


@contextlib.contextmanager
def _kept_running(*, keep: bool) -> Iterator[None]:
    """Stop the local cloud at the end unless it is to be kept; an interruption stops it in any case."""
    try:
        yield
    except KeyboardInterrupt:
        keep = False
        raise
    finally:
        if not keep:
            LocalCloud.stop_running()
        elif LocalCloud.is_running():
            _say("\nThe local cloud goes on running; `python -m local down` stops it.")


def _show_what_next(config: EnvironmentConfig) -> None:
    activated = "" if "VIRTUAL_ENV" in os.environ else "; first `. .venv/bin/activate`"
    _say(f"\nTry next, in this local cloud (docs/local.md{activated}):")
    in_environment = "" if config.name == "dev" else f" --env {config.name}"
    table = Table(show_header=False, box=None)
    for command, what in (
        (
            f"python -m local dev{in_environment}",
            "what you save runs there; a picture that you drop is classified",
        ),
        (f"python -m local drift{in_environment}", "the same pictures at night: drift, an alarm, a retraining run"),
        ("make deploy LOCAL=1 ENV=prod", "a second environment beside it"),
        (f"make diff LOCAL=1 ENV={config.name}", "what an edit of stacks/ or lambda_src/ would change"),
        ("python -m local exec aws s3 ls", "any AWS tool"),
    ):
        table.add_row(command, f"[dim]{what}[/]")
    print_whole(console, table)


def _start() -> LocalCloud:
    if LocalCloud.stop_running():
        _say("Stopped the local cloud that was running, with what was deployed in it")
    with _stage("Emulator and SageMaker stand-in"):
        return LocalCloud.start()


def _remember(archive: Path | None) -> None:
    if archive:
        LocalCloud.remember_archive(archive)


def _everything_deployed(config: EnvironmentConfig, archive: Path | None) -> LocalCloud:
    _remember(archive)
    cloud = _start()
    cloud.use()
    with ThreadPoolExecutor() as pool:
        bootstrapped = pool.submit(deployment.bootstrap, cloud, config)
        synthesized = pool.submit(deployment.synthesize, cloud, config.name)
        _build_dataset(cloud, config, is_new=archive is not None)
        with _stage("cdk synth, cdk bootstrap"):
            bootstrapped.result()
            assembly = synthesized.result()
    with _stage(f'cdk deploy "{config.name}/Data"'):
        deployment.deploy(cloud, assembly, f"{config.name}/Data")
    _upload_and_train(cloud, config)
    _deploy(cloud, config, assembly)
    return cloud


def _data_set(environment: Environment) -> Path:
    """The folder that the model in service was trained on, `train`'s or that of `make deploy LOCAL=1`."""
    return environment.data_set([DATASET, default_folder(environment.config.name)])


def _tell_of_drift(cloud: LocalCloud, config: EnvironmentConfig) -> None:
    cloud.enforce_iam()
    environment = Environment.deployed(config)
    data_set = _data_set(environment)
    started = datetime.now(UTC).replace(microsecond=0)
    with _stage("Drift: traffic as usual, then at night"):
        drift_story.tell_story(environment, data_set, _show_chapter)
    _write_report(cloud, config, f"{config.name}-drift", since=started)


def _show_chapter(title: str, chapter: Chapter) -> None:
    report = chapter.report
    _say(f"\n{title}")
    _say(f"  {chapter.images} images, {chapter.rejected} rejected")
    _say(f"  drift monitor: PSI {report['score']:.3f} (bound {report['bound']}), verdict {report['verdict']}")
    for name in ("confidence", "classes"):
        found = report[name]
        _say(f"    {name:10} PSI {found['psi']:.3f}; baseline {found['baseline_counts']}, window {found['counts']}")
    _say(f"  alarm: {chapter.alarm_state}")
    for alarm in chapter.alarms:
        _say(f"  SNS message: {alarm['AlarmName']} is {alarm['NewStateValue']}: {alarm['NewStateReason']}")
        _say(f"    {alarm['AlarmDescription']}")


def _deploy(cloud: LocalCloud, config: EnvironmentConfig, assembly: Path) -> None:
    parameters = boto3.client("ssm").get_parameters(Names=[config.artifact_parameter])["Parameters"]
    pattern = f"{config.name}/*" if parameters else f"{config.name}/Data"
    with _stage(f'cdk deploy "{pattern}"'):
        deployment.deploy(cloud, assembly, pattern)
        # CloudFormation knows nothing of code that `dev` has sent, and leaves it in place where a template is as before
        functions = function_code.deployed_functions(config.stage_name, access_key=cloud.emulator.access_key)
        function_code.send(function_code.changed(functions, function_code.read(PROJECT_ROOT, function_code.FOLDER)))
    if not parameters:
        _say("No model is trained yet: run `python -m local train`, then `deploy` again for the rest.")


def _build_dataset(cloud: LocalCloud, config: EnvironmentConfig, *, is_new: bool) -> None:
    remembered = LocalCloud.remembered_archive()
    if remembered and not is_new:
        _say(f"Data of {remembered}, which was given before; --archive (make: ARCHIVE) names another")
    with _stage("data_prep build", is_silent=False):
        _data_prep(cloud, "build", "--env", config.name, "--output", str(DATASET))


def _upload_and_train(cloud: LocalCloud, config: EnvironmentConfig, *, is_new: bool = False) -> None:
    replace = ["--delete-extra"] if is_new else []  # whoever names the data wants no other
    for command, options in (("upload", replace), ("train", [])):
        with _stage(f"data_prep {command}", is_silent=False):
            _data_prep(cloud, command, "--env", config.name, "--dataset", str(DATASET), *options)
    with _stage("data_prep baseline", is_silent=False):
        _data_prep(cloud, "baseline", "--env", config.name)


def _data_prep(cloud: LocalCloud, *arguments: str) -> None:
    """One of the commands that users run against AWS, pointed at the local cloud."""
    status = cloud.run([sys.executable, "-m", "data_prep", *arguments], program="data_prep")
    if status:
        raise LocalCloudError(f"`python -m data_prep {arguments[0]}` ended with status {status}")


def _classify(cloud: LocalCloud, config: EnvironmentConfig) -> None:
    environment = Environment.deployed(config)
    data_set = _data_set(environment)
    inbox = Inbox(environment.alert_topic_arn)
    images = labelled_images(data_set, config.classes, at_most=LISTED_IMAGES + 1)
    listed, uploaded = images[:-1], images[-1]
    data = boto3.client("s3").get_object(Bucket=environment.bucket, Key=uploaded.key)["Body"].read()
    if environment.keys(prefixes.PREDICTIONS):
        # Maybe another model's, and those of a version of an image stay: new versions have none
        for image in listed:
            body = (data_set / image.key).read_bytes()
            boto3.client("s3").put_object(Bucket=environment.bucket, Key=image.key, Body=body)
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
    table.columns[3].justify = "right"
    for outcome in outcomes:
        label, true_class = outcome["label"], truth[outcome["s3_key"]]
        table.add_row(
            Text(visible(outcome["s3_key"])),
            true_class,
            label if label == true_class else f"[red]{label}[/]",
            f"{outcome['confidence']:.3f}",
            f"[{colours[outcome['outcome']]}]{outcome['outcome']}[/]",
        )
    console.print()
    print_whole(console, table)


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
        lines = message["Message"].splitlines()
        for line in lines[:MESSAGE_LINES]:
            _say(f"  {line}")
        if len(lines) > MESSAGE_LINES:
            _say(f"  … and {len(lines) - MESSAGE_LINES} more lines")


def _show_places(environment: Environment, execution: Execution, by_upload: Execution) -> None:
    _say("")
    for title, one in (("Executions:", execution), ("", by_upload)):
        # What check_execution has seen to
        why = f", as it should with a rejected image ({one.error})" if one.error else ""
        _say(f"{title:13} {one.status} in {one.seconds:.1f} s{why}")
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
    _write_report(cloud, config, f"{config.name}-report", since=datetime.now(UTC) - timedelta(hours=1))


def _write_report(cloud: LocalCloud, config: EnvironmentConfig, name: str, *, since: datetime) -> None:
    target = PROJECT_ROOT / "build" / f"{name}.html"
    window = ["--since", since.isoformat()]
    status = subprocess.run(
        [sys.executable, "-m", "ops", "captures", "--env", config.name, *window, "--html", str(target)],
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
def _stage(name: str, *, is_silent: bool = True) -> Iterator[None]:
    """One line with the time that the stage took; where somebody watches, a spinner while a silent one lasts."""
    started = time.monotonic()
    with console.status(name) if is_silent else contextlib.nullcontext():
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
