"""`python -m data_prep`: what to run before deploying."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from data_prep import aws
from data_prep.adopt import adopt_model
from data_prep.artifact import Artifact, current_artifact
from data_prep.aws_errors import one_line_errors
from data_prep.baseline import store_baseline
from data_prep.build import build_dataset
from data_prep.dataset import MANIFEST, Manifest, default_folder, small_classes
from data_prep.errors import DataPrepError, DataSetError, InstanceRefusedError
from data_prep.fetch import CIFAR_100, DEFAULT_CACHE, fetch_archive, file_sha256, named_archive
from data_prep.instances import InstanceTypes
from data_prep.job_view import job_view
from data_prep.original import import_dataset
from data_prep.progress import progress_bars
from data_prep.sample import generate_archive
from data_prep.target import is_local, make_command
from data_prep.training import JobState, publish_model, start_training, wait_for_job
from data_prep.upload import upload_dataset
from data_prep.validate import validate_dataset
from data_prep.writer import MAX_REJECTED_SHARE
from lambda_src.retraining.data_set_rules import ProblemGroups
from stacks.config import ConfigError, EnvironmentConfig, load_environment

app = typer.Typer(
    name="data_prep",
    help="From CIFAR-100 to a data set on S3 and a trained model: what to run before deploying.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Environment = Annotated[str, typer.Option("--env", help="Environment of cdk.json whose classes are used.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")]
ArchivePath = Annotated[
    Path | None,
    typer.Option(help="Archive in CIFAR-100's format to use instead of the official one.", show_default=False),
]
Synthetic = Annotated[
    bool,
    typer.Option("--synthetic", help="Generate the images; a model that is trained on them knows no photographs."),
]
DataSet = Annotated[
    Path | None, typer.Option("--dataset", help="Data set folder; default is data/ENV.", show_default=False)
]
Output = Annotated[Path | None, typer.Option(help="Data set folder; default is data/ENV.", show_default=False)]
MaxRejectedShare = Annotated[
    float, typer.Option(min=0, max=1, help="Share of bad images in a split above which to stop.")
]


def note(text: str) -> None:
    typer.echo(text, err=True)


def show(result: dict[str, Any], text: str, *, as_json: bool) -> None:
    """The result of a command, for machines or for people."""
    typer.echo(json.dumps(result, ensure_ascii=False, indent=2) if as_json else text)


def archive_for(
    config: EnvironmentConfig, archive: Path | None, *, synthetic: bool, cache: Path = DEFAULT_CACHE, quiet: bool
) -> Path:
    """The archive that was asked for, or else the one that the environment names, the official or a synthetic one."""
    archive = archive or (None if synthetic else named_archive())
    if archive is None:
        with progress_bars(quiet=quiet) as progress:
            return fetch_archive(classes=config.classes, cache=cache, synthetic=synthetic, say=note, progress=progress)
    if synthetic:
        raise typer.BadParameter("there is an --archive, too: give one of them", param_hint="--synthetic")
    if not archive.is_file():
        raise DataPrepError(f"{archive}: no such file; give the path of an archive in CIFAR-100's format")
    digest = file_sha256(archive)
    if digest != CIFAR_100.sha256:
        note(f"Warning: {archive} is not the official archive; its sha256 is {digest}")
    return archive


@app.command(epilog="Example: python -m data_prep fetch --env dev")
def fetch(
    *,
    env: Environment = "dev",
    archive: ArchivePath = None,
    synthetic: Synthetic = False,
    cache: Annotated[Path, typer.Option(help="Folder that keeps the archive.")] = DEFAULT_CACHE,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Download and verify CIFAR-100, or generate an archive in its format."""
    path = archive_for(load_environment(env), archive, synthetic=synthetic, cache=cache, quiet=quiet)
    digest = file_sha256(path)
    show({"archive": str(path), "sha256": digest}, f"{path}\nsha256 {digest}", as_json=as_json)


@app.command(epilog="Example: python -m data_prep build --env dev")
def build(
    *,
    env: Environment = "dev",
    archive: ArchivePath = None,
    synthetic: Synthetic = False,
    output: Output = None,
    max_rejected_share: MaxRejectedShare = MAX_REJECTED_SHARE,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the images of the environment's classes as checked PNG, with .lst files and a manifest."""
    config = load_environment(env)
    source = archive_for(config, archive, synthetic=synthetic, quiet=quiet)
    folder = output or default_folder(env)
    with progress_bars(quiet=quiet) as progress:
        manifest = build_dataset(
            source, folder, classes=config.classes, max_rejected_share=max_rejected_share, progress=progress
        )
    show(manifest.as_dict(), f"{folder}\n{_summary(manifest)}", as_json=as_json)
    _warn_of_small_classes({name: split.counts for name, split in manifest.splits.items()})


@app.command("import", epilog="Example: python -m data_prep import --env dev scones-unlimited")
def import_folder(
    folder: Annotated[Path, typer.Argument(help="With train/ and test/, and train.lst and test.lst beside them.")],
    *,
    env: Environment = "dev",
    output: Output = None,
    max_rejected_share: MaxRejectedShare = MAX_REJECTED_SHARE,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn the folder of the original's notebook into a data set: its images checked, its labels those of cdk.json."""
    target = output or default_folder(env)
    with progress_bars(quiet=quiet) as progress:
        manifest = import_dataset(
            folder,
            target,
            classes=load_environment(env).classes,
            max_rejected_share=max_rejected_share,
            progress=progress,
        )
    show(manifest.as_dict(), f"{target}\n{_summary(manifest)}", as_json=as_json)
    _warn_of_small_classes({name: split.counts for name, split in manifest.splits.items()})


def _warn_of_small_classes(counts: Mapping[str, Mapping[str, int]]) -> None:
    for warning in small_classes(counts):
        note(f"Warning: {warning}")


def _summary(manifest: Manifest) -> str:
    lines = []
    for name, split in manifest.splits.items():
        counts = ", ".join(f"{count:,} {label}" for label, count in split.counts.items())
        lines.append(f"{name:5} {split.total:,} images: {counts}; {len(split.rejected)} rejected")
    return "\n".join([*lines, f"source {manifest.archive.source}", f"data digest {manifest.data_digest}"])


@app.command(epilog="Example: python -m data_prep validate --env dev")
def validate(
    folder: Annotated[Path | None, typer.Argument(help="Data set folder; default is data/ENV.")] = None,
    *,
    env: Environment = "dev",
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Width and height of every image; default is the manifest's, or any.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Check a data set folder, whoever made it; exit code 1 if anything in it should not be trained on."""
    folder = folder or default_folder(env)
    with progress_bars(quiet=quiet) as progress:
        report = validate_dataset(
            folder, classes=load_environment(env).classes, image_size=image_size, progress=progress
        )
    found = ", ".join(f"{count:,} {split}" for split, count in report.images.items())
    groups = ProblemGroups()
    for problem in report.problems:
        groups.add(problem.file, problem.reason)
    summary = f"{folder}: {found} images are good, {report.labels} labels, {groups.total:,} problems"
    show(report.as_dict(), "\n".join([*groups.lines(), summary]), as_json=as_json)
    _warn_of_small_classes(report.counts)
    if not report.is_valid:
        if not (folder / MANIFEST).exists():
            note(
                f"`python -m data_prep import {folder}` makes a data set of it: it leaves bad images out, and takes "
                "lists in the root and CIFAR-100's own labels"
            )
        raise typer.Exit(1)


@app.command(epilog="Example: python -m data_prep sample --env dev data/sample.tar.gz")
def sample(
    path: Annotated[Path, typer.Argument(help="Archive to write.")],
    *,
    env: Environment = "dev",
    train: Annotated[int, typer.Option(min=1, max=500, help="Training images per class.")] = 500,
    test: Annotated[int, typer.Option(min=1, max=500, help="Test images per class.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other images.")] = 100,
    quiet: Quiet = False,
) -> None:
    """Generate an archive in CIFAR-100's format with synthetic images of the environment's classes."""
    with progress_bars(quiet=quiet) as progress:
        generate_archive(
            path,
            classes=load_environment(env).classes,
            train_per_class=train,
            test_per_class=test,
            seed=seed,
            progress=progress,
        )
    typer.echo(path)


@app.command(epilog="Example: python -m data_prep upload --env dev")
def upload(
    *,
    env: Environment = "dev",
    dataset: DataSet = None,
    delete_extra: Annotated[
        bool, typer.Option("--delete-extra", help="Delete objects of the training channels that no .lst file names.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Copy what changed of the data set to the environment's bucket, and verify that the two are equal."""
    config = load_environment(env)
    bucket = aws.data_stack(config).bucket
    with progress_bars(quiet=quiet) as progress:
        result = upload_dataset(dataset or default_folder(env), bucket, delete_extra=delete_extra, progress=progress)
    show(
        {"bucket": bucket, **asdict(result)},
        f"s3://{bucket}: {result.uploaded:,} of {result.files:,} files uploaded ({result.uploaded_bytes:,} bytes), "
        f"{result.deleted:,} deleted; it holds exactly the data set",
        as_json=as_json,
    )


@app.command(epilog="Example: python -m data_prep train --env dev --spot")
def train(
    *,
    env: Environment = "dev",
    dataset: DataSet = None,
    preset: Annotated[
        Literal["scratch", "transfer"] | None,
        typer.Option(
            help="Train from nothing, or from weights of ImageNet; default is cdk.json's.", show_default=False
        ),
    ] = None,
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
    """Train SageMaker's built-in Image Classification on the uploaded data set and hand the model to the stacks.

    The same data and parameters find the job that runs or has completed, so this can be interrupted and repeated.
    """
    config = load_environment(env)
    changes = {"preset": preset, "spot": spot}
    training = config.training.model_copy(update={key: value for key, value in changes.items() if value is not None})
    config = config.model_copy(update={"training": training})
    folder = dataset or default_folder(env)
    if wait:
        state = _follow(config, resume, quiet=quiet) if resume else _train(config, folder, force=force, quiet=quiet)
        _hand_over(config, state, as_json=as_json)
    else:
        instances = InstanceTypes(config.training, note)
        job = resume or _start(config, folder, instances=instances, force=force, quiet=quiet)
        show({"job": job}, f"{job}\nFollow it with `{_resume_command(config, job)}`", as_json=as_json)


def _train(config: EnvironmentConfig, folder: Path, *, force: bool, quiet: bool) -> JobState:
    """Start a job and follow it to its end, on the first of the instance types that can be had."""
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
    """Follow a job to its end. An interruption leaves the job alone."""
    try:
        with job_view(quiet=quiet) as view:
            return wait_for_job(config, job, view)
    except KeyboardInterrupt:
        note(f"{job} goes on; follow it again with `{_resume_command(config, job)}`")
        raise typer.Exit(130) from None


def _hand_over(config: EnvironmentConfig, state: JobState, *, as_json: bool) -> None:
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


@app.command(epilog="Example: python -m data_prep adopt s3://BUCKET/PATH/output/model.tar.gz --env dev")
def adopt(
    artifact: Annotated[str, typer.Argument(help="S3 URI of a model.tar.gz of the built-in Image Classification.")],
    *,
    env: Environment = "dev",
    as_json: AsJson = False,
) -> None:
    """Serve a model that was trained elsewhere: check it, evaluate it on the validation images, hand it to the stacks.

    Upload the data set first. A Batch Transform job evaluates, on one instance of bulk.transform_instance_type; what it
    predicts is also the baseline that drift is measured against.
    """
    config = load_environment(env)
    model = adopt_model(config, artifact)
    show(
        asdict(model),
        f"{model.artifact_uri}\naccuracy {model.accuracy:.3f} on the validation images\n"
        f'Deploy it with `cdk deploy "{config.name}/*"`',
        as_json=as_json,
    )


@app.command(epilog="Example: python -m data_prep baseline --env dev")
def baseline(
    *,
    env: Environment = "dev",
    force: Annotated[bool, typer.Option("--force", help="Compute it even if it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let the trained model classify the validation images, as the baseline that drift is measured against.

    A Batch Transform job does it, on one instance of bulk.transform_instance_type.
    """
    config = load_environment(env)
    stored = store_baseline(config, force=force)
    text = f"{stored.key}\n{stored.size} answers{'' if stored.is_new else ', computed before'}"
    show(asdict(stored), text, as_json=as_json)


@app.command(epilog="Example: python -m data_prep run --env dev")
def run(
    *,
    env: Environment = "dev",
    archive: ArchivePath = None,
    synthetic: Synthetic = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Do whatever is missing of data set, upload, training and baseline, and say what is reused.

    Without --archive and --synthetic a model that was trained as configured is kept, whatever its data.
    """
    config = load_environment(env)
    bucket = aws.data_stack(config).bucket  # before the download: is there a place for all of it?
    tell = _nobody if quiet else note
    served = current_artifact(config)
    fits = served if served and not served.flaw else None
    if fits and archive is None and not synthetic:
        tell(f"Keeping the model of {fits.job}, {fits.origin}")
    else:
        folder = default_folder(env)
        manifest = _data_set(config, folder, archive, synthetic=synthetic, quiet=quiet)
        if fits and fits.manifest.get("data_digest") == manifest.data_digest:
            tell(f"Same data: keeping the model of {fits.job}, which was trained on it as configured")
        else:
            _check_not_changed(fits)
            fits = None
            with progress_bars(quiet=quiet) as progress:
                # Whoever names the data wants no other
                sent = upload_dataset(folder, bucket, delete_extra=archive is not None or synthetic, progress=progress)
            tell(f"s3://{bucket}: {sent.uploaded:,} of {sent.files:,} files uploaded, {sent.deleted:,} deleted")
            _hand_over(config, _train(config, folder, force=False, quiet=quiet), as_json=as_json)
    if fits:
        show(dict(fits.metadata), fits.uri, as_json=as_json)
    _complete_baseline(config, tell)


def _data_set(
    config: EnvironmentConfig, folder: Path, archive: Path | None, *, synthetic: bool, quiet: bool
) -> Manifest:
    """The data set that was asked for, or any of the environment's classes: built in the folder, unless it is there."""
    tell = _nobody if quiet else note
    archive = archive or (None if synthetic else named_archive())
    known = _manifest_of(folder, config)
    wished = archive is not None or synthetic
    if not known or wished or (known.archive.is_synthetic and not is_local()):
        source = archive_for(config, archive, synthetic=synthetic, quiet=quiet)
        if not known or known.archive.sha256 != file_sha256(source):
            with progress_bars(quiet=quiet) as progress:
                built = build_dataset(source, folder, classes=config.classes, progress=progress)
            tell(f"Built {folder} of {built.archive.source}")
            return built
    tell(f"Reusing {folder}, built of {known.archive.source}")
    return known


def _manifest_of(folder: Path, config: EnvironmentConfig) -> Manifest | None:
    """That of a data set of the environment's classes, if the folder is one."""
    try:
        manifest = Manifest.load(folder)
    except DataSetError:
        return None
    return manifest if manifest.classes == config.classes else None


def _check_not_changed(served: Artifact | None) -> None:
    """Nobody's labelled images may be replaced unnoticed, nor the model that was trained on them."""
    if served and served.manifest and not served.is_of_an_archive:
        raise DataPrepError(
            f"the model in service, of {served.job}, was not trained on what an archive has: it was adopted, or its "
            "data was changed in the bucket: leave --archive and --synthetic (make: ARCHIVE, SYNTHETIC) out to keep "
            "both, or replace them with `python -m data_prep upload --delete-extra` and `python -m data_prep train`"
        )


def _complete_baseline(config: EnvironmentConfig, tell: Callable[[str], None]) -> None:
    try:
        with one_line_errors():
            stored = store_baseline(config)
    except DataPrepError as error:  # the model is there, and serves without
        note(f"Warning: no baseline for the drift monitor, the next run tries again: {error}")
    else:
        tell(f"{'Computed' if stored.is_new else 'Reusing'} the baseline {stored.key}")


def _nobody(_: str) -> None:
    """For commands that are told to be quiet."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exit code 0 done, 1 could not (one line on stderr says why), 2 wrong usage."""
    try:
        with one_line_errors():
            app(args=arguments, prog_name="python -m data_prep")
    except (DataPrepError, ConfigError, OSError) as error:
        note(f"Error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
