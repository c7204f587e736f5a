"""The bulk workflows as Step Functions definitions (JSONata): millions of images, with bounded memory and concurrency.

Distributed Map:  WhichInput? -> ClassifyPrefix | ClassifyCsv | ClassifyJsonLines | ClassifyInventory
Batch Transform:  WhichInput? -> ReadEndpoint -> ReadEndpointConfig -> TransformImages (a SageMaker job)
                  -> WhichPredictions? -> CollectPredictions | CollectListed
Both:             -> Summarize -> NotifyOperators -> AllAccepted? -> InferencesRejected | InferencesFailed

A Distributed Map hands batches of items to Express children. Each image of a batch goes through the steps of
stacks/shared/states.py, as in the inline workflow, and ends in the same outcomes; the outcomes, one a line, are what
ResultWriter writes to S3.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import Aws, Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.shared import prefixes
from stacks.shared.retry_policy import ANY_FAILURE, EXPRESS_STEP, INVOCATION, START_WITHIN_SECONDS, RetryPolicy
from stacks.shared.states import (
    fail_by_counts,
    invoke,
    jsonata,
    outcome_of_image,
    publish_digest,
    retry,
    succeed_if_all_accepted,
    workflow_broken,
)
from stacks.shared.transform_job import transform_job_request

SUMMARY_TIMEOUT = Duration.minutes(15)

# A batch fails as a whole only when the workflow itself breaks; an image cannot. Up to this share the run goes on and
# ends red, with every image of the lost batches counted as failed. Above it something is wrong with all of them, and
# to go on would only cost money.
TOLERATED_FAILURE_PERCENTAGE = 10

_ITEM = "$states.context.Map.Item.Value"
_TOTAL = "$sum($states.input.counts.*)"
# Whoever starts an execution may name it as another one is named, of this or another state machine; results stay apart
_RUN = """$states.context.Execution.Name & '/'
  & $substring($hash($states.context.Execution.Id & $states.context.Execution.StartTime, 'SHA-256'), 0, 16)"""
_RESULTS = f"'{prefixes.MANIFESTS}' & {_RUN}"
_IMAGE_PREFIXES = "|".join(p.rstrip("/") for p in (prefixes.INCOMING, prefixes.SCHEDULED, prefixes.TEST))


# As stacks/shared/states.py has it for an image whose step failed
_OUT_OF_TIME = jsonata("""{
  'outcome': 'FAILED',
  's3_bucket': $states.input.s3_bucket,
  's3_key': $states.input.s3_key,
  's3_version_id': $states.input.s3_version_id,
  'error': 'BatchOutOfTimeError',
  'cause': 'not tried, as the images before it took too long: start the same input again'
}""")

# A job that failed is described as JSON in Cause; a job that could not be created has a text there
_JOB_FAILURE = jsonata("""$merge([$states.context.Execution.Input, {
  'job_failure': $substring(
    $contains($states.input.Cause, '"FailureReason"')
      ? $parse($states.input.Cause).FailureReason : $states.input.Cause,
    0, 200)
}])""")


@dataclass(frozen=True)
class Source:
    """One kind of input of a Distributed Map."""

    name: str  # of the Map state, and of what is below it
    condition: str  # JSONata over the execution's input
    reader: sfn.IItemReader
    selector: str  # JSONata: an item of the workflow from one that was read
    batch: str = "[$states.input.Items]"  # JSONata: the images of a batch


def _of_input(name: str) -> str:
    return f"'' & $states.input.{name}"  # a string, also when it is missing or something else


def listing(bucket: s3.IBucket, *, name: str, more: str = "") -> Source:
    """All objects below `s3_prefix`; `more` are further members of the item."""
    return Source(
        name=name,
        condition=f"$contains({_of_input('s3_prefix')}, /^({_IMAGE_PREFIXES})\\//)",
        reader=sfn.S3ObjectsItemReader(bucket=bucket, prefix="{% $states.input.s3_prefix %}"),
        selector=f"{{'image_data': '', 's3_bucket': '{bucket.bucket_name}', 's3_key': {_ITEM}.Key{more}}}",
        # What the console makes of a "folder" is an object, but no image
        batch="[$states.input.Items[$substring(s3_key, -1) != '/']]",
    )


def manifests(bucket: s3.IBucket) -> list[Source]:
    """A CSV or JSONL file with `s3_key` (and `s3_version_id`) of each image, or an S3 Inventory, at `manifest_key`."""
    row = f"""{{
      'image_data': '',
      's3_bucket': {_ITEM}.s3_bucket ? {_ITEM}.s3_bucket : '{bucket.bucket_name}',
      's3_key': {_ITEM}.s3_key,
      's3_version_id': {_ITEM}.s3_version_id
    }}"""
    # An inventory's keys are encoded, with + or %20 for a space
    inventory = f"""{{
      'image_data': '',
      's3_bucket': {_ITEM}.Bucket,
      's3_key': $decodeUrlComponent($replace({_ITEM}.Key, '+', '%20'))
    }}"""
    key = "{% $states.input.manifest_key %}"
    folder = prefixes.BULK.rstrip("/")

    def ends_with(pattern: str) -> str:
        return f"$contains({_of_input('manifest_key')}, /^{folder}\\/.*{pattern}$/)"

    return [
        Source(
            name="ClassifyCsv",
            condition=ends_with("\\.csv"),
            reader=sfn.S3CsvItemReader(bucket=bucket, key=key, csv_headers=sfn.CsvHeaders.use_first_row()),
            selector=row,
        ),
        Source(
            name="ClassifyJsonLines",
            condition=ends_with("\\.jsonl"),
            reader=sfn.S3JsonLItemReader(bucket=bucket, key=key),
            selector=row,
        ),
        Source(
            name="ClassifyInventory",
            condition=ends_with("\\/manifest\\.json"),
            reader=sfn.S3ManifestItemReader(bucket=bucket, key=key),
            selector=inventory,
        ),
    ]


def distributed_map_workflow(
    scope: Construct,
    *,
    config: EnvironmentConfig,
    find_predictions: lambda_.IFunction,
    steps: Mapping[str, lambda_.IFunction],
    summarize: lambda_.IFunction,
    bucket: s3.IBucket,
    alert_topic: sns.ITopic,
) -> sfn.IChainable:
    """Classify through the endpoint; what has a prediction already is not classified again.

    Input: `{"s3_prefix": "incoming/..."}` or `{"manifest_key": "bulk/....csv"}` (`.jsonl`, `.../manifest.json`).
    """
    sources = [listing(bucket, name="ClassifyPrefix"), *manifests(bucket)]
    broken = workflow_broken(scope, environment=config.name, alert_topic=alert_topic)
    report = _report(
        scope, environment=config.name, summarize=summarize, bucket=bucket, alert_topic=alert_topic, broken=broken
    )
    which_input = _which_input(
        scope,
        bucket,
        "s3_prefix must start with incoming/, scheduled/ or test/; manifest_key with bulk/, and end with .csv, .jsonl "
        "or /manifest.json (an S3 Inventory)",
    )
    for source in sources:
        states = Construct(scope, source.name)
        items = jsonata(source.batch)
        classify = sfn.Map.jsonata(
            states,
            "Images",
            state_name=f"{source.name}: Images",
            items=sfn.ProvideItems.jsonata("{% [$states.input.pending] %}"),
            max_concurrency=config.bulk_images_at_once,
            outputs="{% [$append($states.input.done, $states.result)] %}",
        ).item_processor(_outcome_in_time(states, source, steps=steps))
        find = invoke(
            states,
            "FindPredictions",
            find_predictions,
            state_name=f"{source.name}: FindPredictions",
            payload=jsonata(f"{{'items': {source.batch}}}"),
            outputs="{% $states.result.Payload %}",
            retries=EXPRESS_STEP,
        )
        # It only saves work: without it every image is classified, and no prediction is overwritten
        find.add_catch(classify, outputs={"pending": items, "done": []})
        distributed = _distributed_map(
            states, source=source, config=config, bucket=bucket, child=find.next(classify), report=report, broken=broken
        )
        which_input.when(sfn.Condition.jsonata(f"{{% {source.condition} %}}"), distributed)
    return which_input


def transformed(bucket: s3.IBucket) -> list[Source]:
    """What a transform job has answered: all objects below a prefix, or those of its manifest file."""

    def answer(input_prefix: str) -> str:
        """Below which prefix the answers lie, which prefix the images have, when the run started, and why the job may
        have left no answers.
        """
        return f""",
          'transform_output': '{prefixes.TRANSFORMS}' & {_RUN} & '/',
          'input_prefix': {input_prefix},
          'started_at': $states.context.Execution.StartTime,
          'job_failure': $states.input.job_failure"""

    below = listing(bucket, name="CollectPredictions", more=answer("$states.input.s3_prefix"))
    folder = prefixes.BULK.rstrip("/")
    listed = Source(
        name="CollectListed",
        condition=f"$contains({_of_input('manifest_key')}, /^{folder}\\/.*\\.manifest$/)",
        reader=sfn.S3JsonItemReader(bucket=bucket, key="{% $states.input.manifest_key %}"),
        selector=f"{{'image_data': '', 's3_bucket': '{bucket.bucket_name}', 's3_key': {_ITEM}{answer(repr(''))}}}",
        # The first member is no path, but what all paths begin with: the bucket, so that they are keys
        batch="[$states.input.Items[$type(s3_key) = 'string']]",
    )
    return [below, listed]


def batch_transform_workflow(
    scope: Construct,
    *,
    config: EnvironmentConfig,
    read_transform_output: lambda_.IFunction,
    filter_confidence: lambda_.IFunction,
    summarize: lambda_.IFunction,
    bucket: s3.IBucket,
    alert_topic: sns.ITopic,
) -> sfn.IChainable:
    """Classify with a job that has instances of its own, then filter its answers as the endpoint's are filtered.

    Input: `{"s3_prefix": "incoming/.../"}`; it ends with a slash, as the outputs are named by what follows it. Or
    `{"manifest_key": "bulk/....manifest"}`, a list as SageMaker takes it: `[{"prefix": "s3://BUCKET/"}, key, ...]`.
    """
    broken = workflow_broken(scope, environment=config.name, alert_topic=alert_topic)
    report = _report(
        scope, environment=config.name, summarize=summarize, bucket=bucket, alert_topic=alert_topic, broken=broken
    )
    below, listed = transformed(bucket)
    collect = sfn.Choice.jsonata(scope, "WhichPredictions?")
    for source in (below, listed):
        states = Construct(scope, source.name)
        child = sfn.Map.jsonata(
            states,
            "Images",
            state_name=f"{source.name}: Images",
            items=sfn.ProvideItems.jsonata(jsonata(source.batch)),
            max_concurrency=config.bulk_images_at_once,
        ).item_processor(
            _outcome_in_time(
                states,
                source,
                steps={"ReadTransformOutput": read_transform_output, "FilterConfidence": filter_confidence},
            )
        )
        distributed = _distributed_map(
            states, source=source, config=config, bucket=bucket, child=child, report=report, broken=broken
        )
        if source is listed:
            collect.when(sfn.Condition.jsonata("{% $exists($states.input.manifest_key) %}"), distributed)
        else:
            collect.otherwise(distributed)
    transform = _transform_job(scope, config=config, bucket=bucket)
    failed = sfn.Pass.jsonata(
        scope, "JobFailed", comment="The images that have no output are told why", outputs=_JOB_FAILURE
    )
    transform.add_catch(failed.next(collect), errors=["States.TaskFailed"])
    transform.next(collect)
    served = _served_model(scope, config=config, then=transform, broken=broken)
    folder = f"{below.condition} and $substring({_of_input('s3_prefix')}, -1) = '/'"
    which_input = _which_input(
        scope,
        bucket,
        f"s3_prefix must start with {_IMAGE_PREFIXES} and end with a slash; manifest_key with {prefixes.BULK}, and end "
        "with .manifest",
    )
    return which_input.when(sfn.Condition.jsonata(f"{{% ({folder}) or {listed.condition} %}}"), served)


def _served_model(
    scope: Construct, *, config: EnvironmentConfig, then: sfn.IChainable, broken: sfn.State
) -> sfn.TaskStateBase:
    """The name of the model that the endpoint serves now, as `model`: a release may have changed it meanwhile.

    While the endpoint is being updated this is what it served before, as the update may still end there.
    """
    endpoint = tasks.CallAwsService.jsonata(
        scope,
        "ReadEndpoint",
        service="sagemaker",
        action="describeEndpoint",
        parameters={"EndpointName": config.endpoint_name},
        iam_resources=[sagemaker_arn("endpoint", config.endpoint_name)],
        outputs=jsonata("$merge([$states.input, {'endpoint_config': $states.result.EndpointConfigName}])"),
        task_timeout=sfn.Timeout.duration(Duration.seconds(60)),
    )
    endpoint_config = tasks.CallAwsService.jsonata(
        scope,
        "ReadEndpointConfig",
        service="sagemaker",
        action="describeEndpointConfig",
        parameters={"EndpointConfigName": "{% $states.input.endpoint_config %}"},
        iam_resources=[sagemaker_arn("endpoint-config", "*")],
        outputs=jsonata("$merge([$states.input, {'model': $states.result.ProductionVariants[0].ModelName}])"),
        task_timeout=sfn.Timeout.duration(Duration.seconds(60)),
    )
    unknown = jsonata(f"""{{
      'Error': 'ServedModelUnknownError',
      'Cause': 'Batch Transform takes the model that endpoint {config.endpoint_name} serves, which cannot be read ('
        & $states.errorOutput.Error & ': ' & $states.errorOutput.Cause & '): deploy the model stack again'
    }}""")
    for state in (endpoint, endpoint_config):
        retry(state, ANY_FAILURE)
        state.add_catch(broken, outputs=unknown)
    endpoint.next(endpoint_config).next(then)
    return endpoint


def sagemaker_arn(resource: str, name: str) -> str:
    return f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}:{resource}/{name}"


def _transform_job(scope: Construct, *, config: EnvironmentConfig, bucket: s3.IBucket) -> sfn.CustomState:
    """A SageMaker job of the model `model`, followed to its end."""
    # Names of jobs take letters, digits and hyphens, at most 63, and end with none. SageMaker takes no name twice: not
    # after a redrive, and not for executions whose names are the same once they are cut
    job_name = f"""$substring('{config.stage_name}-'
      & ($states.context.Execution.RedriveCount > 0 ? 'r' & $states.context.Execution.RedriveCount & '-' : '')
      & $replace($states.context.Execution.Name, /[^a-zA-Z0-9]/, '-'), 0, 54)
      & '-' & $substring($hash($states.context.Execution.Name & $states.context.Execution.StartTime, 'MD5'), 0, 8)"""
    is_list = "$exists($states.input.manifest_key)"
    transform = sfn.CustomState(
        scope,
        "TransformImages",
        # Not the L2 state: its policies hold sagemaker:ListTags on everything
        state_json={
            "Type": "Task",
            "Comment": "An image that the model refuses gets no output, and fails the job; the others get theirs",
            "Resource": f"arn:{Aws.PARTITION}:states:::sagemaker:createTransformJob.sync",
            "Arguments": transform_job_request(
                config,
                job_name=jsonata(job_name),
                model="{% $states.input.model %}",
                source_type=jsonata(f"{is_list} ? 'ManifestFile' : 'S3Prefix'"),
                source_uri=jsonata(
                    f"'s3://{bucket.bucket_name}/' & ({is_list} ? $states.input.manifest_key : $states.input.s3_prefix)"
                ),
                output_uri=jsonata(f"'s3://{bucket.bucket_name}/{prefixes.TRANSFORMS}' & {_RUN}"),
                instance_count=config.bulk.transform_instance_count,
                key_arn=bucket.encryption_key.key_arn if bucket.encryption_key else "",
            ),
            "Output": "{% $states.input %}",
        },
    )
    transform.add_retry(
        errors=["SageMaker.AmazonSageMakerException", "SageMaker.ResourceLimitExceededException"],
        interval=Duration.minutes(1),
        max_attempts=3,
        backoff_rate=2,
    )
    return transform


def _which_input(scope: Construct, bucket: s3.IBucket, explanation: str) -> sfn.Choice:
    invalid = sfn.Fail.jsonata(scope, "InvalidInput", error="InvalidInputError", cause=explanation)
    other_bucket = f"$exists($states.input.s3_bucket) and $states.input.s3_bucket != '{bucket.bucket_name}'"
    both = "$exists($states.input.s3_prefix) and $exists($states.input.manifest_key)"
    return (
        sfn.Choice.jsonata(scope, "WhichInput?")
        .when(
            sfn.Condition.jsonata(f"{{% {other_bucket} %}}"),
            sfn.Fail.jsonata(
                scope, "OtherBucket", error="InvalidInputError", cause=f"s3_bucket must be {bucket.bucket_name}"
            ),
        )
        .when(
            sfn.Condition.jsonata(f"{{% {both} %}}"),
            sfn.Fail.jsonata(
                scope, "TwoInputs", error="InvalidInputError", cause="give s3_prefix or manifest_key, not both"
            ),
        )
        .otherwise(invalid)
    )


def _outcome_in_time(scope: Construct, source: Source, *, steps: Mapping[str, lambda_.IFunction]) -> sfn.IChainable:
    """The steps of one image of a batch, unless they might outlast the Express execution that they run in."""
    suffix = f" ({source.name})"
    return (
        sfn.Choice.jsonata(scope, "InTime?", state_name=f"InTime?{suffix}")
        .when(
            sfn.Condition.jsonata("{% $millis() < $start_until %}"),
            outcome_of_image(scope, steps=steps, retries=EXPRESS_STEP, suffix=suffix),
        )
        .otherwise(sfn.Pass.jsonata(scope, "OutOfTime", state_name=f"OutOfTime{suffix}", outputs=_OUT_OF_TIME))
    )


def _distributed_map(
    scope: Construct,
    *,
    source: Source,
    config: EnvironmentConfig,
    bucket: s3.IBucket,
    child: sfn.IChainable,
    report: sfn.State,
    broken: sfn.State,
) -> sfn.DistributedMap:
    """Batches of what the source reads, each to one Express execution of `child`, which answers a list of outcomes."""
    distributed = sfn.DistributedMap.jsonata(
        scope,
        source.name,
        label=source.name,
        map_execution_type=sfn.StateMachineType.EXPRESS,
        item_reader=source.reader,
        jsonata_item_selector=jsonata(source.selector),
        item_batcher=sfn.ItemBatcher(max_items_per_batch=config.bulk_batch_size),
        max_concurrency=config.bulk_concurrency // config.bulk_images_at_once,
        tolerated_failure_percentage=TOLERATED_FAILURE_PERCENTAGE,
        result_writer_v2=sfn.ResultWriterV2(
            bucket=bucket,
            prefix=jsonata(_RESULTS),
            writer_config=sfn.WriterConfig(output_type=sfn.OutputType.JSONL, transformation=sfn.Transformation.FLATTEN),
        ),
    )
    distributed.item_processor(
        sfn.Pass.jsonata(
            scope,
            "Start",
            state_name=f"{source.name}: Start",
            assign={"start_until": jsonata(f"$millis() + {START_WITHIN_SECONDS * 1000}")},
        ).next(child)
    )
    # The results that there are have been written: count them, and the rest as failed
    distributed.add_catch(report, errors=["States.ExceedToleratedFailureThreshold"])
    distributed.add_catch(broken, outputs="{% $states.errorOutput %}")
    distributed.next(report)
    return distributed


def _report(
    scope: Construct,
    *,
    environment: str,
    summarize: lambda_.IFunction,
    bucket: s3.IBucket,
    alert_topic: sns.ITopic,
    broken: sfn.State,
) -> sfn.State:
    """Count the outcomes, tell the operators, and end red unless every image was accepted."""
    summary = invoke(
        scope,
        "Summarize",
        summarize,
        payload=jsonata(f"""{{
          'execution': $states.context.Execution.Name,
          'started_at': $states.context.Execution.StartTime,
          'results': {_RESULTS}
        }}"""),
        outputs="{% $states.result.Payload %}",
        timeout=Duration.seconds(SUMMARY_TIMEOUT.to_seconds() + 5),
        retries=(*INVOCATION, RetryPolicy(errors=("StorageUnavailableError",))),
    )
    summary.add_catch(broken, outputs="{% $states.errorOutput %}")
    notify = publish_digest(
        scope,
        environment=environment,
        alert_topic=alert_topic,
        bucket=bucket,
        total=_TOTAL,
        not_accepted="$states.input.examples",
    )
    verdict = succeed_if_all_accepted(scope, otherwise=fail_by_counts(scope, total=_TOTAL))
    # A topic that cannot be reached must not hide the verdict
    notify.add_catch(verdict, outputs="{% $states.input %}")
    summary.next(notify.next(verdict))
    return summary
