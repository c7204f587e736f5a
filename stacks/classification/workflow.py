"""The classification workflow as a Step Functions definition (JSONata).

    ReadInput -> ClassifyImages: Map( SerializeImageData -> Classifier -> FilterConfidence )
              -> WriteManifest -> AllAccepted? -> NotifyOperators -> InferencesRejected | InferencesFailed

Every image ends in exactly one outcome, and one bad image never cancels its siblings.
"""

import math
from collections.abc import Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from stacks.shared import prefixes
from stacks.shared.retry_policy import ANY_FAILURE, STEP, STEP_TIMEOUT_SECONDS, longest_seconds
from stacks.shared.states import (
    fail_by_counts,
    jsonata,
    outcome_of_image,
    publish_digest,
    retry,
    succeed_if_all_accepted,
    workflow_broken,
)

MAX_IMAGES = 500
_CALL_TIMEOUT = Duration.seconds(60)
# What the outcomes of all images may occupy of a state's 262,144 bytes. An outcome repeats the image's key in
# the prediction's key, and adds at most 250 bytes.
MAX_OUTCOME_BYTES = 260_000

_LISTED_IMAGES = jsonata("""(
  $bucket := $states.input.s3_bucket;
  [$states.result.Contents[$substring(Key, -1) != '/'].{'image_data': '', 's3_bucket': $bucket, 's3_key': Key}]
)""")
# An input is what is inside: JSON in a text, the `body` of the original's envelope, the `detail` of an S3 event
_READ_INPUT = jsonata("""(
  $open := function($it) {
    $type($it) = 'string' and $substring($trim($it), 0, 1) in ['{', '['] ? $open($parse($it))
    : $type($it) != 'object' or $exists($it.s3_key) ? $it
    : $exists($it.body) ? $open($it.body)
    : $exists($it.detail) ? $open($it.detail)
    : $exists($it.bucket.name) and $exists($it.object.key) ? {
        'image_data': '',
        's3_bucket': $it.bucket.name,
        's3_key': $it.object.key,
        's3_version_id': $it.object.`version-id`
      }
    : $it
  };
  $input := $open($states.input);
  $type($input) != 'object' ? [$input]
  : $exists($input.s3_prefix) ? $input
  : $exists($input.images) ? $input.images
  : [$input]
)""")

# The limit counts bytes of UTF-8, of which a code unit of UTF-16 takes at most three. Their exact number, by
# percent-encoding, would fail on half a character, and with it the whole list.
_BYTES = "$length($replace($string($states.input), /[^ -~]/, 'xxx'))"
_TOO_MANY_IMAGES = jsonata(f"""
  $count($states.input) > {MAX_IMAGES} or 2 * {_BYTES} + 250 * $count($states.input) > {MAX_OUTCOME_BYTES}
""")

_MANIFEST = jsonata("""{
  'execution': $states.context.Execution.Name,
  'started_at': $states.context.Execution.StartTime,
  'counts': {
    'ACCEPTED': $count($states.result[outcome = 'ACCEPTED']),
    'REJECTED': $count($states.result[outcome = 'REJECTED']),
    'FAILED': $count($states.result[outcome = 'FAILED'])
  },
  'outcomes': $states.result
}""")
_TOTAL = "$count($states.input.outcomes)"
# Whoever starts an execution may name it, and the name is free for other state machines, and again after 90 days
_NOT_WRITTEN = jsonata(f"""
  $contains($states.errorOutput.Cause, /[Pp]re-?condition/) ? {{
    'Error': 'ManifestExistsError',
    'Cause': '{prefixes.MANIFESTS}' & $states.context.Execution.Name & '.json is never overwritten: either this '
      & 'execution wrote it and got no response, or another one had its name: then start again under another name'
  }} : $states.errorOutput
""")


def longest_execution(map_concurrency: int) -> Duration:
    """Every attempt of every step of every image at its time-out: an execution that ended before would lose outcomes.

    Waiting costs nothing. Three steps; an hour for the rest.
    """
    image_seconds = 3 * longest_seconds(STEP, timeout_seconds=STEP_TIMEOUT_SECONDS)
    return Duration.seconds(math.ceil(MAX_IMAGES / map_concurrency) * image_seconds + 3600)


def classification_workflow(
    scope: Construct,
    *,
    environment: str,
    steps: Mapping[str, lambda_.IFunction],
    bucket: s3.IBucket,
    image_buckets: Sequence[str],
    alert_topic: sns.ITopic,
    map_concurrency: int,
) -> sfn.IChainable:
    """The whole definition.

    Input: one item `{"image_data": "", "s3_bucket": ..., "s3_key": ...}`, or `{"images": [item, ...]}`, or
    `{"s3_bucket": ..., "s3_prefix": ...}` for all images below a prefix. Each may be JSON in a text or in the `body` of
    the original's envelope; an item may also be an event of S3. Output, and the manifest in S3:
    `{"execution", "started_at", "counts": {"ACCEPTED", "REJECTED", "FAILED"}, "outcomes": [one of each item]}`.
    """
    write_manifest = tasks.CallAwsService.jsonata(
        scope,
        "WriteManifest",
        comment="Keeps the outcome of every image, also when the execution fails below",
        service="s3",
        action="putObject",
        parameters={
            "Bucket": bucket.bucket_name,
            "Key": jsonata(f"'{prefixes.MANIFESTS}' & $states.context.Execution.Name & '.json'"),
            "Body": "{% $states.input %}",
            "ContentType": "application/json",
            "IfNoneMatch": "*",
        },
        iam_action="s3:PutObject",
        iam_resources=[bucket.arn_for_objects(f"{prefixes.MANIFESTS}*")],
        outputs="{% $states.input %}",
        task_timeout=sfn.Timeout.duration(_CALL_TIMEOUT),
    )
    classify_images = sfn.Map.jsonata(
        scope,
        "ClassifyImages",
        comment="One iteration per image; each catches its own errors, so no image can fail the Map",
        items=sfn.ProvideItems.jsonata("{% $states.input %}"),
        max_concurrency=map_concurrency,
        outputs=_MANIFEST,
    ).item_processor(outcome_of_image(scope, steps=steps, retries=STEP))
    list_images = tasks.CallAwsService.jsonata(
        scope,
        "ListImages",
        service="s3",
        action="listObjectsV2",
        parameters={
            "Bucket": "{% $states.input.s3_bucket %}",
            "Prefix": "{% $states.input.s3_prefix %}",
            "MaxKeys": MAX_IMAGES + 1,  # one more than may be classified, so that a longer listing is noticed
        },
        iam_action="s3:ListBucket",
        iam_resources=list(image_buckets),
        outputs=_LISTED_IMAGES,
        task_timeout=sfn.Timeout.duration(_CALL_TIMEOUT),
    )
    broken = workflow_broken(scope, environment=environment, alert_topic=alert_topic)
    for state in (list_images, write_manifest):
        retry(state, ANY_FAILURE)
    for catching in (list_images, classify_images, write_manifest):
        catching.add_catch(broken, outputs=_NOT_WRITTEN if catching is write_manifest else "{% $states.errorOutput %}")

    notify_operators = publish_digest(
        scope,
        environment=environment,
        alert_topic=alert_topic,
        bucket=bucket,
        total=_TOTAL,
        not_accepted="$states.input.outcomes[outcome != 'ACCEPTED']",
    )
    fail = fail_by_counts(scope, total=_TOTAL)
    # A topic that cannot be reached must not hide the verdict
    notify_operators.add_catch(fail, outputs="{% $states.input %}")
    write_manifest.next(succeed_if_all_accepted(scope, otherwise=notify_operators.next(fail)))
    within_limits = (
        sfn.Choice.jsonata(scope, "WithinLimits?")
        .when(
            sfn.Condition.jsonata("{% $type($states.input) != 'array' %}"),
            sfn.Fail.jsonata(
                scope,
                "InvalidInput",
                error="InvalidInputError",
                cause="images must be a list of objects with s3_bucket and s3_key",
            ),
        )
        .when(
            sfn.Condition.jsonata(_TOO_MANY_IMAGES),
            sfn.Fail.jsonata(
                scope,
                "TooManyImages",
                error="TooManyImagesError",
                cause=f"An execution takes at most {MAX_IMAGES} images, fewer if their keys are very long. "
                "Split the list, or use the bulk workflow.",
            ),
        )
        .otherwise(classify_images.next(write_manifest))
    )
    is_prefix = sfn.Condition.jsonata("{% $type($states.input) = 'object' and $exists($states.input.s3_prefix) %}")
    return sfn.Pass.jsonata(
        scope,
        "ReadInput",
        comment="Opens an envelope or an event; a single item becomes a list of one",
        outputs=_READ_INPUT,
    ).next(
        sfn.Choice.jsonata(scope, "IsPrefix?").when(is_prefix, list_images.next(within_limits)).otherwise(within_limits)
    )
