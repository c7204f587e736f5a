"""What the emulator lacks and this project needs, added from outside. Each has a test that says when to drop it.

Written against ministack 1.5.33, whose version is pinned exactly for this reason.
"""

import dataclasses
import json
import os
import re
import signal
from contextvars import ContextVar
from typing import Any

import boto3
import ministack.app
from botocore import xform_name
from botocore.exceptions import ClientError
from ministack.core import iam_evaluator, lambda_runtime
from ministack.services import lambda_svc, stepfunctions

from local.sagemaker import cloudformation
from local.sagemaker.storage import SESSION_NAME


def apply() -> None:
    report_errors_by_class_name()
    call_s3_as_the_state_machine()
    call_functions_and_topics_as_the_state_machine()
    count_loopback_as_tls()
    match_newlines_in_policies()
    let_sagemaker_assume_roles()
    cloudformation.register()
    signal.signal(signal.SIGUSR1, lambda *_: enforce_iam())


def enforce_iam() -> None:
    """Check every call against the caller's policies from now on.

    Not from the start: the emulator refuses to publish assets through CDK's bootstrap roles.
    """
    ministack.app.AUTH = True


def report_errors_by_class_name() -> None:
    """Lambda names an error by its class, which Retry and Catch match on; the emulator by one constant."""
    trace = '"trace": traceback.format_exc()'
    if trace not in lambda_runtime._PYTHON_WORKER_SCRIPT:
        raise RuntimeError("the emulator's Python worker has changed: local/adapters.py must follow")
    lambda_runtime._PYTHON_WORKER_SCRIPT = lambda_runtime._PYTHON_WORKER_SCRIPT.replace(
        trace, f'{trace} + "\\n" + type(e).__name__'
    )
    execute = lambda_svc._execute_function_warm

    def execute_and_name_error(func: Any, event: Any, request_id: str) -> Any:
        result = execute(func, event, request_id)
        if result.get("error") and result["body"].get("errorType") == "Runtime.HandlerError":
            class_name = result.get("log", "").rpartition("\n")[2]
            if class_name.isidentifier():
                result["body"]["errorType"] = class_name
        return result

    lambda_svc._execute_function_warm = execute_and_name_error


def count_loopback_as_tls() -> None:
    """The bucket, the topic and the queues refuse plain HTTP, which the emulator speaks; nothing leaves the machine."""
    pin = ministack.app.pin_request_origin
    ministack.app.pin_request_origin = lambda source_ip, _secure: pin(source_ip, True)
    iam_evaluator._request_origin = ContextVar("request_origin", default=("127.0.0.1", True))


def match_newlines_in_policies() -> None:
    """An object's key may hold a newline, which the emulator's `*` in a policy's resource does not match."""
    compile_pattern = iam_evaluator._fnmatch_compile

    def compile_across_lines(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        compiled = compile_pattern(pattern, ignore_case)
        return re.compile(compiled.pattern, compiled.flags | re.DOTALL)

    iam_evaluator._fnmatch_compile = compile_across_lines


def let_sagemaker_assume_roles() -> None:
    """A role must trust SageMaker for this account; the emulator sees the account's root call, and asks for neither."""
    evaluate = iam_evaluator.evaluate_trust_policy

    def evaluate_for_sagemaker(document: Any, caller_arn: str, context: Any) -> bool:
        if context.service_context.get("sts:rolesessionname") == SESSION_NAME:
            if "sagemaker.amazonaws.com" not in json.dumps(document):
                return False
            source = {"aws:sourceaccount": context.principal_account}
            context = dataclasses.replace(context, service_context={**context.service_context, **source})
        return bool(evaluate(document, caller_arn, context))

    iam_evaluator.evaluate_trust_policy = evaluate_for_sagemaker


_role_arn: ContextVar[str] = ContextVar("role_arn")  # of the state machine whose task runs


def call_s3_as_the_state_machine() -> None:
    """Step Functions calls S3 with the state machine's role; the emulator does it as nobody, and without bodies.

    So that the role's policies are enforced here as well, the call goes to the emulator's own S3 with a session of
    that role.
    """
    execute_task = stepfunctions._execute_task
    invoke = stepfunctions._invoke_aws_sdk_integration

    def execute_task_in_role(state: Any, raw_input: Any, execution: Any, context: Any) -> Any:
        _role_arn.set(stepfunctions._state_machines[execution["stateMachineArn"]]["roleArn"])
        return execute_task(state, raw_input, execution, context)

    def invoke_in_role(resource: str, arguments: Any) -> Any:
        service, action = resource.split(":")[-2:]
        if service != "s3":
            return invoke(resource, arguments)
        if isinstance(arguments.get("Body"), dict | list):
            arguments = {**arguments, "Body": json.dumps(arguments["Body"], ensure_ascii=False)}
        try:
            answer = getattr(_session(_role_arn.get()).client("s3"), xform_name(action))(**arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise stepfunctions._ExecutionError(f"S3.{code.removesuffix('Exception')}Exception", str(error)) from error
        del answer["ResponseMetadata"]
        return json.loads(json.dumps(answer, default=str))

    stepfunctions._execute_task = execute_task_in_role
    stepfunctions._invoke_aws_sdk_integration = invoke_in_role


def call_functions_and_topics_as_the_state_machine() -> None:
    """Step Functions also invokes functions and publishes with the state machine's role; the emulator asks for no right.

    The errors are those that AWS names: a refused invocation is an AWSLambdaException, which the workflow retries.
    """
    invoke = stepfunctions._invoke_resource
    guarded = {
        "arn:aws:states:::lambda:invoke": ("lambda:InvokeFunction", "FunctionName", "Lambda.AWSLambdaException"),
        "arn:aws:states:::sns:publish": ("sns:Publish", "TopicArn", "SNS.AuthorizationErrorException"),
    }

    def invoke_if_allowed(resource: str, arguments: Any) -> Any:
        if resource in guarded and ministack.app.AUTH:
            action, target, error = guarded[resource]
            if not role_allows(_role_arn.get(), action, arguments[target]):
                cause = f"User: {_role_arn.get()} is not authorized to perform: {action} on: {arguments[target]}"
                raise stepfunctions._ExecutionError(error, cause)
        return invoke(resource, arguments)

    stepfunctions._invoke_resource = invoke_if_allowed


def role_allows(role_arn: str, action: str, resource_arn: str) -> bool:
    """Whether the policies of a role as it is deployed now allow one request."""
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    context = iam_evaluator.EvalContext(
        principal_arn=role_arn,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource_arn,
        region=os.environ["AWS_REGION"],
    )
    policies = iam_evaluator._gather_role_policies(name, account)
    return bool(iam_evaluator.evaluate(context, policies).decision == "Allow")


def _session(role_arn: str) -> boto3.Session:
    """A session of an execution role, as the emulator gives one to each function."""
    _, _, _, _, account, role = role_arn.split(":", 5)
    name = role.removeprefix("role/")
    credentials = lambda_runtime.execution_credentials(
        {
            "FunctionArn": f"arn:aws:lambda:{os.environ['AWS_REGION']}:{account}:function:{name}",
            "FunctionName": name,
            "Role": role_arn,
        }
    )
    return boto3.Session(
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=credentials["AWS_SESSION_TOKEN"] or None,
    )
