"""Renders the definitions of the two bulk workflows from the `.asl.yaml` files in this folder."""

from pathlib import Path
from typing import Any

from stacks.config import EnvironmentConfig
from stacks.shared import prefixes
from stacks.shared.definition import MESSAGES, Definition, image_states, read_definition, read_messages, with_suffix
from stacks.shared.retry_policy import EXPRESS, EXPRESS_STEP, INVOCATION, RetryPolicy, retriers, start_within_seconds
from stacks.shared.transform_job import transform_job_request

SUMMARY_TIMEOUT_SECONDS = 15 * 60

_FOLDER = Path(__file__).parent
_SEVEN_DAYS = 7 * 24 * 3600
# Executions of this or another state machine may have the same name; the hash keeps their results apart
_RUN = """$states.context.Execution.Name & '/'
  & $substring($hash($states.context.Execution.Id & $states.context.Execution.StartTime, 'SHA-256'), 0, 16)"""
# JSONata expressions for the images of a batch
_ALL = "[$states.input.Items]"
# The S3 console creates an object for a "folder"
_NO_FOLDERS = "[$states.input.Items[$substring(s3_key, -1) != '/']]"
# The first element of a list is the prefix of all others: s3://BUCKET/, so the others are keys
_NO_BUCKET = "[$states.input.Items[$type(s3_key) = 'string']]"


def distributed_map(config: EnvironmentConfig) -> Definition:
    """The workflow that classifies through the endpoint."""
    return read_definition(
        _FOLDER / "distributed_map.asl.yaml",
        **_common(config),
        WaitingFolder=prefixes.WAITING.rstrip("/"),
        ClassifyPrefixBatch=_classify_batch(config, "ClassifyPrefix", images=_NO_FOLDERS),
        ClassifyCsvBatch=_classify_batch(config, "ClassifyCsv", images=_ALL),
        ClassifyJsonLinesBatch=_classify_batch(config, "ClassifyJsonLines", images=_ALL),
        ClassifyInventoryBatch=_classify_batch(config, "ClassifyInventory", images=_ALL),
    )


def batch_transform(config: EnvironmentConfig, *, is_encrypted: bool) -> Definition:
    """The workflow that classifies with a Batch Transform job.

    is_encrypted: whether job output and volumes use the key that the substitution `KeyArn` names.
    """
    return read_definition(
        _FOLDER / "batch_transform.asl.yaml",
        **_common(config),
        EndpointName=config.endpoint_name,
        TransformsPrefix=prefixes.TRANSFORMS,
        TransformJob=_transform_job(config, is_encrypted=is_encrypted),
        CollectPredictionsBatch=_collect_batch(config, "CollectPredictions", images=_NO_FOLDERS),
        CollectListedBatch=_collect_batch(config, "CollectListed", images=_NO_BUCKET),
    )


def _common(config: EnvironmentConfig) -> dict[str, Any]:
    report = read_definition(
        _FOLDER / "report.asl.yaml",
        **read_messages(
            MESSAGES,
            Environment=config.name,
            Total="$sum($states.input.counts.*)",
            NotAccepted="$states.input.examples",
        ),
        Run=_RUN,
        SummaryTimeoutSeconds=SUMMARY_TIMEOUT_SECONDS + 5,
        RetrySummary=retriers([*INVOCATION, RetryPolicy(errors=("StorageUnavailableError",))]),
    )
    return {
        "BatchSize": config.bulk_batch_size,
        "BatchesAtOnce": config.bulk_concurrency // config.bulk_images_at_once,
        "BulkFolder": prefixes.BULK.rstrip("/"),
        "ImageFolders": "|".join(p.rstrip("/") for p in (prefixes.INCOMING, prefixes.SCHEDULED, prefixes.TEST)),
        "Report": report["States"],
        "Run": _RUN,
        "TimeoutSeconds": _SEVEN_DAYS,
    }


def _classify_batch(config: EnvironmentConfig, name: str, *, images: str) -> Definition:
    batch = read_definition(
        _FOLDER / "classify_batch.asl.yaml",
        **_batch(config, images=images, first_step="SerializeImageData"),
        ClassifyImage=image_states(config.endpoint.bulk_retries),
    )
    return with_suffix(batch, f" ({name})")


def _collect_batch(config: EnvironmentConfig, name: str, *, images: str) -> Definition:
    steps = image_states(EXPRESS)
    batch = read_definition(
        _FOLDER / "collect_batch.asl.yaml",
        **_batch(config, images=images, first_step="ReadTransformOutput"),
        CatchUnclassified=steps["SerializeImageData"]["Catch"],
        FilterPrediction={state: steps[state] for state in ("FilterConfidence", "Rejected", "Failed")},
    )
    return with_suffix(batch, f" ({name})")


def _batch(config: EnvironmentConfig, *, images: str, first_step: str) -> dict[str, Any]:
    return {
        "Images": images,
        "ImagesAtOnce": config.bulk_images_at_once,
        "InTime": read_definition(_FOLDER / "in_time.asl.yaml", FirstStep=first_step)["States"],
        "RetryExpressStep": retriers(EXPRESS_STEP),
        "StartWithinMilliseconds": start_within_seconds(config.endpoint.bulk_retries) * 1000,
    }


def _transform_job(config: EnvironmentConfig, *, is_encrypted: bool) -> Any:
    # A job's name has at most 63 letters, digits and hyphens, and does not end with a hyphen. SageMaker never accepts a
    # name again, so it must be new after a redrive, and for executions whose names are the same once shortened.
    started = "$states.context.Execution.Name & $states.context.Execution.StartTime"
    job_name = f"""{{% $substring('{config.stage_name}-'
      & ($states.context.Execution.RedriveCount > 0 ? 'r' & $states.context.Execution.RedriveCount & '-' : '')
      & $replace($states.context.Execution.Name, /[^a-zA-Z0-9]/, '-'), 0, 54)
      & '-' & $substring($hash({started}, 'MD5'), 0, 8) %}}"""
    is_list = "$exists($states.input.manifest_key)"
    source = f"({is_list} ? $states.input.manifest_key : $states.input.s3_prefix)"
    return transform_job_request(
        config,
        job_name=job_name,
        model="{% $states.input.model %}",
        source_type=f"{{% {is_list} ? 'ManifestFile' : 'S3Prefix' %}}",
        source_uri=f"{{% 's3://${{BucketName}}/' & {source} %}}",
        output_uri=f"{{% 's3://${{BucketName}}/{prefixes.TRANSFORMS}' & {_RUN} %}}",
        instance_count=config.bulk.transform_instance_count,
        key_arn="${KeyArn}" if is_encrypted else "",
    )
