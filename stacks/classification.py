"""The classification workflow as a Step Functions definition (JSONata).

    ReadInput -> ClassifyImages: Map( SerializeImageData -> Classifier -> FilterConfidence )
              -> WriteManifest -> AllAccepted? -> NotifyOperators -> InferencesRejected | InferencesFailed

Every image ends in exactly one outcome, and one bad image never cancels its siblings.
"""

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from stacks import prefixes

MAX_IMAGES = 500
# What the outcomes of all images may occupy of a state's 262,144 bytes. An outcome repeats the image's key in
# the prediction's key, and adds at most 250 bytes.
MAX_OUTCOME_BYTES = 260_000

LAMBDA_SERVICE_ERRORS = [
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
]
TRANSIENT_ERRORS = ["EndpointUnavailableError", "StorageUnavailableError"]


def _jsonata(expression: str) -> str:
    """An expression on one line, as it shows in the console."""
    return f"{{% {' '.join(expression.split())} %}}"


_LISTED_IMAGES = _jsonata("""(
  $bucket := $states.input.s3_bucket;
  [$states.result.Contents[$substring(Key, -1) != '/'].{'image_data': '', 's3_bucket': $bucket, 's3_key': Key}]
)""")
_COLLECTED_IMAGES = _jsonata("""
  $type($states.input) = 'object' and $exists($states.input.images) ? $states.input.images : [$states.input]
""")

# The limit counts bytes of UTF-8, of which a code unit of UTF-16 takes at most three. Their exact number, by
# percent-encoding, would fail on half a character, and with it the whole list.
_BYTES = "$length($replace($string($states.input), /[^ -~]/, 'xxx'))"
_TOO_MANY_IMAGES = _jsonata(f"""
  $count($states.input) > {MAX_IMAGES} or 2 * {_BYTES} + 250 * $count($states.input) > {MAX_OUTCOME_BYTES}
""")

_ACCEPTED = _jsonata("""$states.result.Payload.{
  'outcome': 'ACCEPTED',
  's3_bucket': s3_bucket,
  's3_key': s3_key,
  's3_version_id': s3_version_id,
  'label': label,
  'confidence': confidence,
  'prediction_key': prediction_key
}""")


def _caught(outcome: str) -> str:
    # Members whose value is missing are left out, so this also takes an item that is no object.
    # A function's Cause is JSON; that of a time-out or a service error is text.
    return _jsonata(f"""{{
      'outcome': '{outcome}',
      's3_bucket': $states.input.s3_bucket,
      's3_key': $states.input.s3_key,
      's3_version_id': $states.input.s3_version_id,
      'label': $states.input.label,
      'confidence': $states.input.confidence,
      'error': $states.errorOutput.Error,
      'cause': $substring(
        $contains($states.errorOutput.Cause, /^\\{{[\\s\\S]*\\}}$/)
          ? $parse($states.errorOutput.Cause).errorMessage : $states.errorOutput.Cause,
        0, 120)
    }}""")


_MANIFEST = _jsonata("""{
  'execution': $states.context.Execution.Name,
  'started_at': $states.context.Execution.StartTime,
  'counts': {
    'ACCEPTED': $count($states.result[outcome = 'ACCEPTED']),
    'REJECTED': $count($states.result[outcome = 'REJECTED']),
    'FAILED': $count($states.result[outcome = 'FAILED'])
  },
  'outcomes': $states.result
}""")

_DIGEST_LINES = 20


def classification_workflow(
    scope: Construct,
    *,
    environment: str,
    serialize_image_data: lambda_.IFunction,
    classifier: lambda_.IFunction,
    filter_confidence: lambda_.IFunction,
    bucket: s3.IBucket,
    alert_topic: sns.ITopic,
    map_concurrency: int,
) -> sfn.IChainable:
    """The whole definition.

    Input: one item `{"image_data": "", "s3_bucket": ..., "s3_key": ...}`, or `{"images": [item, ...]}`, or
    `{"s3_bucket": ..., "s3_prefix": ...}` for all images below a prefix. Output, and the manifest in S3:
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
            "Key": _jsonata(f"'{prefixes.MANIFESTS}' & $states.context.Execution.Name & '.json'"),
            "Body": "{% $states.input %}",
            "ContentType": "application/json",
        },
        iam_action="s3:PutObject",
        iam_resources=[bucket.arn_for_objects(f"{prefixes.MANIFESTS}*")],
        outputs="{% $states.input %}",
    )
    classify_images = sfn.Map.jsonata(
        scope,
        "ClassifyImages",
        comment="One iteration per image; each catches its own errors, so no image can fail the Map",
        items=sfn.ProvideItems.jsonata("{% $states.input %}"),
        max_concurrency=map_concurrency,
        outputs=_MANIFEST,
    ).item_processor(
        classify_image(
            scope,
            serialize_image_data=serialize_image_data,
            classifier=classifier,
            filter_confidence=filter_confidence,
        )
    )
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
        iam_resources=[bucket.bucket_arn],
        outputs=_LISTED_IMAGES,
    )
    # What breaks here is the workflow, not an image: say so, and stay red
    notify_broken = _publish(
        scope,
        "NotifyWorkflowBroken",
        alert_topic,
        subject=f"Scones Unlimited {environment}: workflow broken",
        message=_jsonata(r"$states.context.Execution.Id & '\n' & $states.input.Error & ': ' & $states.input.Cause"),
    )
    broken = sfn.Fail.jsonata(
        scope, "WorkflowBroken", error="{% $states.input.Error %}", cause="{% $states.input.Cause %}"
    )
    notify_broken.next(broken)
    notify_broken.add_catch(broken, outputs="{% $states.input %}")
    for state in (list_images, write_manifest):
        _retry(state, ["States.TaskFailed"])
    for catching in (list_images, classify_images, write_manifest):
        catching.add_catch(notify_broken, outputs="{% $states.errorOutput %}")

    write_manifest.next(_verdict(scope, environment=environment, alert_topic=alert_topic, bucket=bucket))
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
    collect_images = sfn.Pass.jsonata(
        scope, "CollectImages", comment="A single item becomes a list of one", outputs=_COLLECTED_IMAGES
    ).next(within_limits)
    return (
        sfn.Choice.jsonata(scope, "IsPrefix?")
        .when(sfn.Condition.jsonata("{% $exists($states.input.s3_prefix) %}"), list_images.next(within_limits))
        .otherwise(collect_images)
    )


def classify_image(
    scope: Construct,
    *,
    serialize_image_data: lambda_.IFunction,
    classifier: lambda_.IFunction,
    filter_confidence: lambda_.IFunction,
) -> sfn.IChainable:
    """The three steps of one image, from item to outcome."""
    rejected = sfn.Pass.jsonata(scope, "Rejected", comment="Under the confidence threshold")
    failed = sfn.Pass.jsonata(scope, "Failed", comment="Anything else that went wrong with this image")
    steps = [
        _invoke(scope, "SerializeImageData", serialize_image_data, outputs="{% $states.result.Payload %}"),
        _invoke(scope, "Classifier", classifier, outputs="{% $states.result.Payload %}"),
        _invoke(scope, "FilterConfidence", filter_confidence, outputs=_ACCEPTED),
    ]
    steps[-1].add_catch(rejected, errors=["LowConfidenceError"], outputs=_caught("REJECTED"))
    for step in steps:
        step.add_catch(failed, outputs=_caught("FAILED"))
    return sfn.Chain.start(steps[0]).next(steps[1]).next(steps[2])


def _invoke(scope: Construct, name: str, function: lambda_.IFunction, *, outputs: str) -> tasks.LambdaInvoke:
    step = tasks.LambdaInvoke.jsonata(
        scope,
        name,
        lambda_function=function,
        payload=sfn.TaskInput.from_text("{% $states.input %}"),
        # Above the function's own time-out, which gives the better error
        task_timeout=sfn.Timeout.duration(Duration.seconds(25)),
        retry_on_service_exceptions=False,  # CDK's default retry would come on top of this one
        outputs=outputs,
    )
    _retry(step, LAMBDA_SERVICE_ERRORS)
    _retry(step, TRANSIENT_ERRORS)
    return step


def _retry(state: sfn.TaskStateBase, errors: list[str]) -> None:
    state.add_retry(
        errors=errors,
        interval=Duration.seconds(1),
        max_attempts=3,
        backoff_rate=2,
        jitter_strategy=sfn.JitterType.FULL,
    )


def _verdict(scope: Construct, *, environment: str, alert_topic: sns.ITopic, bucket: s3.IBucket) -> sfn.IChainable:
    """Succeed only if every image was accepted; otherwise tell the operators once and fail."""
    notify = _publish(
        scope,
        "NotifyOperators",
        alert_topic,
        subject=_jsonata(f"""
          'Scones Unlimited {environment}: ' & ($states.input.counts.REJECTED + $states.input.counts.FAILED)
          & ' of ' & $count($states.input.outcomes) & ' images not accepted'
        """),
        message=_jsonata(rf"""$join([
          $states.input.counts.REJECTED & ' rejected, ' & $states.input.counts.FAILED & ' failed, '
            & $states.input.counts.ACCEPTED & ' accepted.',
          'Outcome of every image: s3://{bucket.bucket_name}/{prefixes.MANIFESTS}'
            & $states.context.Execution.Name & '.json',
          'Execution: ' & $states.context.Execution.Id,
          $states.input.outcomes[outcome != 'ACCEPTED'][[0..{_DIGEST_LINES - 1}]].(
            outcome & ' ' & s3_key & ' - ' & error & ': ' & cause
          )
        ], '\n')"""),
    )
    verdict = (
        sfn.Choice.jsonata(scope, "AnyFailed?")
        .when(
            sfn.Condition.jsonata("{% $states.input.counts.FAILED > 0 %}"),
            sfn.Fail.jsonata(
                scope,
                "InferencesFailed",
                error="InferencesFailed",
                cause="{% $states.input.counts.FAILED & ' of ' & $count($states.input.outcomes) & ' images failed' %}",
            ),
        )
        .otherwise(
            sfn.Fail.jsonata(
                scope,
                "InferencesRejected",
                error="InferencesRejected",
                cause=_jsonata("""
                  $states.input.counts.REJECTED & ' of ' & $count($states.input.outcomes)
                  & ' images are under the confidence threshold'
                """),
            )
        )
    )
    # A topic that cannot be reached must not hide the verdict
    notify.add_catch(verdict, outputs="{% $states.input %}")
    return (
        sfn.Choice.jsonata(scope, "AllAccepted?")
        .when(
            sfn.Condition.jsonata("{% $states.input.counts.REJECTED = 0 and $states.input.counts.FAILED = 0 %}"),
            sfn.Succeed.jsonata(scope, "Accepted"),
        )
        .otherwise(notify.next(verdict))
    )


def _publish(scope: Construct, name: str, topic: sns.ITopic, *, subject: str, message: str) -> tasks.SnsPublish:
    publish = tasks.SnsPublish.jsonata(
        scope,
        name,
        topic=topic,
        subject=subject,
        message=sfn.TaskInput.from_text(message),
        outputs="{% $states.input %}",
    )
    _retry(publish, ["States.TaskFailed"])
    return publish
