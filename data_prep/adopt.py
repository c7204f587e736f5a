"""Adopts a model that the built-in algorithm trained elsewhere, such as the artifact of the original's notebook.

The artifact is copied to where a training job of this project would have written it, under the name of a job that never
ran, so that releases, drift and retraining treat it like any other.
"""

import json
import tarfile
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from botocore.exceptions import ClientError

from data_prep import aws
from data_prep.baseline import baseline_of
from data_prep.errors import AdoptionError
from data_prep.fetch import file_sha256
from data_prep.options import AsJson, EnvironmentName
from data_prep.terminal import show
from data_prep.training import hand_over, image_uri
from lambda_src.retraining.trained_model import TrainedModel
from lambda_src.shared.json_reader import parse_json, read_json
from lambda_src.shared.model_documents import document_key
from stacks.config import EnvironmentConfig, load_environment
from stacks.shared import prefixes
from stacks.shared.algorithm import IMAGE_CLASSIFICATION

# The files in the algorithm's model.tar.gz: the network, the weights of an epoch, the shape of its input
_FILES = ("-symbol.json", ".params", "model-shapes.json")
_MAX_JSON_BYTES = 16 << 20


def adopt(
    artifact: Annotated[str, typer.Argument(help="S3 URI of a model.tar.gz of the built-in Image Classification.")],
    *,
    env: EnvironmentName = "dev",
    as_json: AsJson = False,
) -> None:
    """Adopt a model that was trained elsewhere: check it, evaluate it on the validation images, hand it to the stacks.

    Upload the data set first. A Batch Transform job evaluates the model, on one instance of
    bulk.transform_instance_type; its predictions are also the baseline that drift is measured against.
    """
    config = load_environment(env)
    model = adopt_model(config, artifact)
    show(
        asdict(model),
        f"{model.artifact_uri}\naccuracy {model.accuracy:.3f} on the validation images\n"
        f'Deploy it with `cdk deploy "{config.name}/*"`',
        as_json=as_json,
    )


def adopt_model(config: EnvironmentConfig, uri: str) -> TrainedModel:
    """Check the artifact at an S3 URI, copy it, evaluate it on the validation images, and hand it to the stacks.

    The environment's data set must have been uploaded. Raises AdoptionError if the artifact is not the algorithm's, or
    its accuracy is below retraining.minimum_accuracy; raises TrainingError if it cannot be evaluated. In either case
    the model in service stays.
    """
    stack = aws.data_stack(config)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.tar.gz"
        _download(uri, file)
        check_artifact(file, name=uri)
        job = f"{config.stage_name}-adopted-{file_sha256(file)[:8]}"
        key = f"{prefixes.MODELS}{job}/output/model.tar.gz"
        aws.s3().upload_file(str(file), stack.bucket, key)
    manifest = {"adopted_from": uri, "classes": config.classes}
    aws.s3().put_object(Bucket=stack.bucket, Key=document_key(job, "manifest"), Body=json.dumps(manifest).encode())
    model = TrainedModel(
        job=job,
        artifact_uri=f"s3://{stack.bucket}/{key}",
        accuracy=None,
        classes=config.classes,
        data_digest="",
        image=image_uri(IMAGE_CLASSIFICATION, stack.region),
        hyperparameters={},
    )
    # An earlier evaluation may be of other labels
    baseline = baseline_of(config, asdict(model), force=True)
    evaluation = aws.s3().get_object(Bucket=stack.bucket, Key=document_key(job, "evaluation"))["Body"]
    accuracy = float(read_json(evaluation, name="evaluation")["accuracy"])
    if accuracy < config.retraining.minimum_accuracy:
        raise AdoptionError(
            f"{uri}: has an accuracy of {accuracy:.3f} on the {baseline.size} validation images, below the "
            f"{config.retraining.minimum_accuracy} of retraining.minimum_accuracy. Are its labels, in this order, "
            f"{', '.join(config.classes)}? The model in service has not changed"
        )
    model = replace(model, accuracy=accuracy)
    hand_over(config, model, baseline_key=baseline.key)
    return model


def _download(uri: str, file: Path) -> None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise AdoptionError(f"{uri}: is not an S3 URI such as s3://BUCKET/PATH/output/model.tar.gz")
    try:
        aws.s3().download_file(bucket, key, str(file))
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "403", "NoSuchBucket"}:
            raise
        raise AdoptionError(
            f"{uri}: does not exist, or may not be read with these credentials ({error.response['Error']['Message']})"
        ) from None


def check_artifact(file: Path, *, name: str) -> None:
    """Raise AdoptionError unless the file is an artifact of the built-in Image Classification.

    Nothing is extracted, and the weights are not inspected: the evaluation shows whether they load.
    """
    found: set[str] = set()
    try:
        with tarfile.open(file, "r:gz") as archive:
            for member in archive:
                kind = next((suffix for suffix in _FILES if member.name.endswith(suffix)), None)
                if kind is None or not member.isfile() or not member.size:
                    continue
                if kind.endswith(".json"):
                    content = archive.extractfile(member)
                    assert content is not None  # noqa: S101 - a file, so it has one
                    parse_json(content.read(_MAX_JSON_BYTES))
                found.add(kind)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise AdoptionError(f"{name}: is not a complete gzipped tar: {error}") from None
    except ValueError as error:
        raise AdoptionError(f"{name}: {member.name} is not JSON: {error}") from None
    if missing := [f"*{suffix}" for suffix in _FILES if suffix not in found]:
        raise AdoptionError(
            f"{name}: has no {', '.join(missing)}: it is not an artifact of SageMaker's built-in Image Classification "
            "on MXNet. Others may contain code, which would run; train a model with `python -m data_prep train`"
        )
