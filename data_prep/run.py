"""The command `run`: completes what is missing of data set, upload, training and baseline."""

from collections.abc import Callable
from pathlib import Path

from data_prep import aws
from data_prep.artifact import Artifact, current_artifact
from data_prep.aws_errors import one_line_errors
from data_prep.baseline import store_baseline
from data_prep.build import build_dataset
from data_prep.dataset import Manifest, default_folder
from data_prep.errors import DataPrepError, DataSetError
from data_prep.fetch import archive_for, file_sha256, named_archive
from data_prep.options import ArchivePath, AsJson, EnvironmentName, Quiet, Synthetic
from data_prep.progress import progress_bars
from data_prep.target import is_local
from data_prep.terminal import note, show
from data_prep.train import hand_over_model, train_model
from data_prep.training import put_parameter
from data_prep.upload import upload_code, upload_dataset
from stacks.config import EnvironmentConfig, load_environment
from stacks.shared.model_code import code_prefix


def run(
    *,
    env: EnvironmentName = "dev",
    archive: ArchivePath = None,
    synthetic: Synthetic = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Complete what is missing of data set, upload, training and baseline, and report what is reused.

    Without --archive and --synthetic, a model that was trained as configured is reused, whatever its data.
    """
    config = load_environment(env)
    bucket = aws.data_stack(config).bucket  # before the download, so that a missing bucket is reported first
    report = _silent if quiet else note
    if files := upload_code(config, bucket):  # even if no job starts now: the retraining workflow needs the code
        report(f"s3://{bucket}/{code_prefix()}: {files} files of model_src/ uploaded")
    served = current_artifact(config)
    fits = served if served and not served.mismatch else None
    if fits and archive is None and not synthetic:
        report(f"Keeping the model of {fits.job}, {fits.origin}")
    else:
        folder = default_folder(env)
        manifest = _data_set(config, folder, archive, synthetic=synthetic, quiet=quiet)
        if fits and fits.manifest.get("data_digest") == manifest.data_digest:
            report(f"Same data: keeping the model of {fits.job}, which was trained on it as configured")
        else:
            _check_not_changed(fits)
            fits = None
            with progress_bars(quiet=quiet) as progress:
                # A data set that was requested explicitly replaces any other
                sent = upload_dataset(folder, bucket, delete_extra=archive is not None or synthetic, progress=progress)
            report(f"s3://{bucket}: {sent.uploaded:,} of {sent.files:,} files uploaded, {sent.deleted:,} deleted")
            hand_over_model(config, train_model(config, folder, force=False, quiet=quiet), as_json=as_json)
    if fits:
        if fits.trained_by:  # an earlier version of this project did not write the parameter
            put_parameter(config.model_algorithm_parameter, fits.trained_by)
        show(dict(fits.metadata), fits.uri, as_json=as_json)
    _complete_baseline(config, report)


def _data_set(
    config: EnvironmentConfig, folder: Path, archive: Path | None, *, synthetic: bool, quiet: bool
) -> Manifest:
    """The requested data set, or any with the environment's classes; built in the folder unless it is there."""
    report = _silent if quiet else note
    archive = archive or (None if synthetic else named_archive())
    known = _manifest_of(folder, config)
    is_named = archive is not None or synthetic
    if not known or is_named or (known.archive.is_synthetic and not is_local()):
        source = archive_for(config, archive, synthetic=synthetic, quiet=quiet)
        if not known or known.archive.sha256 != file_sha256(source):
            with progress_bars(quiet=quiet) as progress:
                built = build_dataset(source, folder, classes=config.classes, progress=progress)
            report(f"Built {folder} from {built.archive.source}")
            return built
    report(f"Reusing {folder}, built from {known.archive.source}")
    return known


def _manifest_of(folder: Path, config: EnvironmentConfig) -> Manifest | None:
    """The folder's manifest, if it holds a data set with the environment's classes."""
    try:
        manifest = Manifest.load(folder)
    except DataSetError:
        return None
    return manifest if manifest.classes == config.classes else None


def _check_not_changed(served: Artifact | None) -> None:
    """Raise DataPrepError if the upload would replace labelled images, or an adopted model, without notice."""
    if served and served.manifest and not served.is_of_an_archive:
        raise DataPrepError(
            f"the model in service, of {served.job}, was not trained on an archive's data: it was adopted, or its data "
            "was changed in the bucket. Omit --archive and --synthetic (make: ARCHIVE, SYNTHETIC) to keep model and "
            "data, or replace them with `python -m data_prep upload --delete-extra` and `python -m data_prep train`"
        )


def _complete_baseline(config: EnvironmentConfig, report: Callable[[str], None]) -> None:
    try:
        with one_line_errors():
            stored = store_baseline(config)
    except DataPrepError as error:  # the model can serve without a baseline
        note(f"Warning: no baseline for the drift monitor; the next run tries again: {error}")
    else:
        report(f"{'Computed' if stored.is_new else 'Reusing'} the baseline {stored.key}")


def _silent(_: str) -> None:
    """Report nothing, for --quiet."""
