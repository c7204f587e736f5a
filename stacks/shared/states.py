"""What the workflows are made of: the steps of one image and their outcomes, the digest, the verdict (JSONata)."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from stacks.shared import prefixes
from stacks.shared.retry_policy import ANY_FAILURE, INVOCATION, STEP_TIMEOUT_SECONDS, RetryPolicy

_DIGEST_LINES = 20
_LONGEST_LINE = 2_500  # characters of a message, which keeps it within SNS's 262,144 bytes
# What is not printable (as Python's `str.isprintable` has it, of the 65,536 characters that a regular expression of
# JSONata can name): line breaks, controls, what changes the direction of reading, spaces that look like none
_HIDDEN = (
    r"[\u0000-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff\ufff9-\ufffb]"
)


def jsonata(expression: str) -> str:
    """An expression on one line, as it shows in the console."""
    return f"{{% {' '.join(expression.split())} %}}"


_ACCEPTED = jsonata("""$states.result.Payload.{
  'outcome': 'ACCEPTED',
  's3_bucket': s3_bucket,
  's3_key': s3_key,
  's3_version_id': s3_version_id,
  'label': label,
  'confidence': confidence,
  'prediction_key': prediction_key
}""")


def _caught(outcome: str, *, is_classified: bool) -> str:
    # Before there is a prediction, `label` and `confidence` are whatever the start input has under these names
    prediction = "'label': $states.input.label, 'confidence': $states.input.confidence," if is_classified else ""
    # Members whose value is missing are left out, so this also takes an item that is no object.
    # A function's Cause is JSON; that of a time-out or a service error is text.
    return jsonata(f"""{{
      'outcome': '{outcome}',
      's3_bucket': $states.input.s3_bucket,
      's3_key': $states.input.s3_key,
      's3_version_id': $states.input.s3_version_id,
      {prediction}
      'error': $states.errorOutput.Error,
      'cause': $substring(
        $contains($states.errorOutput.Cause, /^\\{{[\\s\\S]*\\}}$/)
          ? $parse($states.errorOutput.Cause).errorMessage : $states.errorOutput.Cause,
        0, 120)
    }}""")


def outcome_of_image(
    scope: Construct, *, steps: Mapping[str, lambda_.IFunction], retries: Sequence[RetryPolicy], suffix: str = ""
) -> sfn.Chain:
    """The steps of one image, from item to outcome; the last of them stores the prediction.

    suffix: of the states' names, where one state machine has the steps more than once.
    """
    rejected = sfn.Pass.jsonata(
        scope, "Rejected", state_name=f"Rejected{suffix}", comment="Under the confidence threshold"
    )
    failed = sfn.Pass.jsonata(
        scope, "Failed", state_name=f"Failed{suffix}", comment="Anything else that went wrong with this image"
    )
    last = list(steps)[-1]
    invocations = [
        invoke(
            scope,
            name,
            function,
            state_name=f"{name}{suffix}",
            outputs=_ACCEPTED if name == last else "{% $states.result.Payload %}",
            retries=retries,
        )
        for name, function in steps.items()
    ]
    invocations[-1].add_catch(rejected, errors=["LowConfidenceError"], outputs=_caught("REJECTED", is_classified=True))
    chain = sfn.Chain.start(invocations[0])
    for invocation in invocations[1:]:
        chain = chain.next(invocation)
    for invocation in invocations:
        invocation.add_catch(failed, outputs=_caught("FAILED", is_classified=invocation is invocations[-1]))
    return chain


def invoke(
    scope: Construct,
    name: str,
    function: lambda_.IFunction,
    *,
    outputs: str,
    state_name: str | None = None,
    payload: str = "{% $states.input %}",
    timeout: Duration | None = None,
    retries: Sequence[RetryPolicy] = INVOCATION,
) -> tasks.LambdaInvoke:
    """One function; its time-out lies above the function's, whose error is better."""
    step = tasks.LambdaInvoke.jsonata(
        scope,
        name,
        state_name=state_name,
        lambda_function=function,
        payload=sfn.TaskInput.from_text(payload),
        task_timeout=sfn.Timeout.duration(timeout or Duration.seconds(STEP_TIMEOUT_SECONDS)),
        retry_on_service_exceptions=False,  # CDK's default retry would come on top of these
        outputs=outputs,
    )
    for policy in retries:
        retry(step, policy)
    return step


def retry(state: sfn.TaskStateBase, policy: RetryPolicy) -> None:
    state.add_retry(
        errors=list(policy.errors),
        interval=Duration.seconds(policy.interval_seconds),
        max_attempts=policy.max_attempts,
        backoff_rate=policy.backoff_rate,
        jitter_strategy=sfn.JitterType.FULL,
    )


def _visible(text: str, *, longest: int) -> str:
    """JSONata: the text on one line that hides nothing: a replacement character stands for what is not printable.

    Keys, causes and errors may hold anything, and so make a mail say what this project does not. The manifest has them
    as they are.
    """
    return f"$substring($replace({text}, /{_HIDDEN}/, '\\ufffd'), 0, {longest})"


def publish(scope: Construct, name: str, topic: sns.ITopic, *, subject: str, lines: Sequence[str]) -> tasks.SnsPublish:
    """One message; the state's input passes through.

    subject, lines: JSONata, of a string; of a line also of several, or of none. What they quote may come from anybody.
    """
    task = tasks.SnsPublish.jsonata(
        scope,
        name,
        topic=topic,
        subject=jsonata(_visible(subject, longest=99)),
        message=sfn.TaskInput.from_text(
            jsonata(f"""$join(
              $map([{", ".join(lines)}], function($line) {{ {_visible("$line", longest=_LONGEST_LINE)} }}), '\\n'
            )""")
        ),
        task_timeout=sfn.Timeout.duration(Duration.seconds(60)),
        outputs="{% $states.input %}",
    )
    retry(task, ANY_FAILURE)
    return task


def publish_digest(
    scope: Construct,
    *,
    environment: str,
    alert_topic: sns.ITopic,
    bucket: s3.IBucket,
    total: str,
    not_accepted: str,
) -> tasks.SnsPublish:
    """One message about all images of an execution.

    total, not_accepted: JSONata over the state's input, which has `counts`: the number of images, and the outcomes
    to list.
    """
    return publish(
        scope,
        "NotifyOperators",
        alert_topic,
        subject=f"""
          'Scones Unlimited {environment}: ' & ($states.input.counts.REJECTED + $states.input.counts.FAILED)
          & ' of ' & {total} & ' images not accepted'
        """,
        lines=[
            """$states.input.counts.REJECTED & ' rejected, ' & $states.input.counts.FAILED & ' failed, '
              & $states.input.counts.ACCEPTED & ' accepted.'""",
            f"""'Outcome of every image: s3://{bucket.bucket_name}/{prefixes.MANIFESTS}'
              & $states.context.Execution.Name & '.json'""",
            "'Execution: ' & $states.context.Execution.Id",
            f"""$map({not_accepted}[[0..{_DIGEST_LINES - 1}]], function($image) {{
              $image.outcome & ' ' & $image.s3_key & ' - ' & $image.error & ': ' & $image.cause
            }})""",
        ],
    )


def succeed_if_all_accepted(scope: Construct, *, otherwise: sfn.IChainable) -> sfn.Choice:
    return (
        sfn.Choice.jsonata(scope, "AllAccepted?")
        .when(
            sfn.Condition.jsonata("{% $states.input.counts.REJECTED = 0 and $states.input.counts.FAILED = 0 %}"),
            sfn.Succeed.jsonata(scope, "Accepted"),
        )
        .otherwise(otherwise)
    )


def fail_by_counts(scope: Construct, *, total: str) -> sfn.Choice:
    """End as InferencesFailed if any image failed, or else as InferencesRejected; `total` is JSONata."""
    return (
        sfn.Choice.jsonata(scope, "AnyFailed?")
        .when(
            sfn.Condition.jsonata("{% $states.input.counts.FAILED > 0 %}"),
            sfn.Fail.jsonata(
                scope,
                "InferencesFailed",
                error="InferencesFailed",
                cause=jsonata(f"$states.input.counts.FAILED & ' of ' & {total} & ' images failed'"),
            ),
        )
        .otherwise(
            sfn.Fail.jsonata(
                scope,
                "InferencesRejected",
                error="InferencesRejected",
                cause=jsonata(f"""
                  $states.input.counts.REJECTED & ' of ' & {total} & ' images are under the confidence threshold'
                """),
            )
        )
    )


def workflow_broken(scope: Construct, *, environment: str, alert_topic: sns.ITopic) -> sfn.State:
    """What breaks here is the workflow, not an image: say so, and stay red. Takes an error output."""
    notify = publish(
        scope,
        "NotifyWorkflowBroken",
        alert_topic,
        subject=f"'Scones Unlimited {environment}: workflow broken'",
        lines=["$states.context.Execution.Id", "$states.input.Error & ': ' & $states.input.Cause"],
    )
    broken = sfn.Fail.jsonata(
        scope, "WorkflowBroken", error="{% $states.input.Error %}", cause="{% $states.input.Cause %}"
    )
    notify.next(broken)
    notify.add_catch(broken, outputs="{% $states.input %}")
    return notify
