"""Patches for what this project needs and the emulator lacks. Each has a test that fails once upstream supports it.

Written for ministack 1.5.33; that is why its version is pinned exactly.
"""

import asyncio
import contextlib
import dataclasses
import functools
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import boto3
import ministack.app
from botocore import xform_name
from botocore.exceptions import ClientError, ParamValidationError
from botocore.model import OperationModel
from jsonata.functions import Functions
from jsonata.parser import Parser
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import cloudwatch, eventbridge, iam, lambda_svc, stepfunctions
from ministack.services.cloudformation import _exports, _stacks, handlers, provisioners, stacks

from local import alarms, authorization, budgets, distributed_map, expressions, lambda_concurrency, schedules, strict
from local.function_process import ForkServer
from local.permissions import Call, Permission, needed
from local.sagemaker import cloudformation
from local.sagemaker.storage import SESSION_NAME
from stacks.config import PROJECT_ROOT


def apply() -> None:
    strict.install()
    report_errors_by_class_name()
    limit_workers()
    read_logs_to_their_end()
    fork_workers()
    finish_requests_under_way()
    check_requests_of_functions()
    call_services_as_the_state_machine()
    write_whole_histories()
    distributed_map.register(client_of_role)
    count_loopback_as_tls()
    match_newlines_in_policies()
    let_sagemaker_assume_roles()
    name_conditional_writes()
    name_described_alarms()
    take_events_of_services()
    evaluate_outputs_of_parallel_states()
    leave_text_in_json_as_it_is()
    parse_expressions_once()
    read_metrics_from_logs()
    evaluate_alarms_as_cloudwatch_does()
    keep_exports_in_use()
    describe_stacks_that_are_done()
    bound_roles()
    lambda_concurrency.register()
    authorization.register()
    cloudformation.register()
    budgets.register()
    schedules.register()
    if path := os.environ.get(expressions.VARIABLE):
        expressions.record(Path(path))
    signal.signal(signal.SIGUSR1, lambda *_: enforce_iam())
    signal.signal(signal.SIGUSR2, lambda *_: alarms.let_a_minute_pass())


def enforce_iam() -> None:
    """Check every call against the caller's policies from now on.

    IAM is not enforced from the start, because the emulator refuses to publish assets through CDK's bootstrap roles.
    Function processes that started before have the account's credentials, not their roles'.
    """
    ministack.app.AUTH = True
    workers = [worker for pool in lambda_runtime._workers.values() for worker in pool]
    threading.Thread(target=_end_when_idle, args=(workers,), daemon=True).start()


def _end_when_idle(workers: list[lambda_runtime.Worker]) -> None:
    """End function processes that started with outdated settings; new ones process the next requests."""
    deadline = time.monotonic() + _LONGEST_REQUEST_SECONDS
    while workers:
        is_late = time.monotonic() > deadline
        with lambda_runtime._lock:
            idle = [worker for worker in workers if is_late or not worker.in_use]
            for pool in lambda_runtime._workers.values():
                pool[:] = [worker for worker in pool if worker not in idle]
        lambda_runtime.kill_workers(idle)
        workers = [worker for worker in workers if worker not in idle]
        time.sleep(0.05)


_LONGEST_REQUEST_SECONDS = 900  # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html


def report_errors_by_class_name() -> None:
    """Lambda names an error by its class, which Retry and Catch match, and keeps the process.

    The emulator gives every error the same name and ends the process, so the next request is a cold start. With this
    patch, the process returns the error as a result, which is converted back here.
    """
    failure = '{"status": "error", "error": str(e), "trace": traceback.format_exc()}'
    raised = (
        f'{{"status": "ok", "result": {{"{_RAISED}": {{"errorMessage": str(e), "errorType": type(e).__name__, '
        '"stackTrace": traceback.format_exc().splitlines()}}}'
    )
    if failure not in lambda_runtime._PYTHON_WORKER_SCRIPT:
        raise RuntimeError("the emulator's Python worker has changed: local/adapters.py must follow")
    lambda_runtime._PYTHON_WORKER_SCRIPT = lambda_runtime._PYTHON_WORKER_SCRIPT.replace(failure, raised)
    execute = lambda_svc._execute_function_warm

    def execute_and_name_error(func: Any, event: Any, request_id: str) -> Any:
        result = execute(func, event, request_id)
        if isinstance(result["body"], dict) and (error := result["body"].get(_RAISED)):
            log = "\n".join([result.get("log", ""), *error["stackTrace"]])
            return {"body": error, "error": True, "log": log}
        return result

    lambda_svc._execute_function_warm = execute_and_name_error


# Results contain users' data, so the marker must be unguessable
_RAISED = f"raised-{secrets.token_hex(16)}"


def limit_workers() -> None:
    """Limits the processes of a function. Where AWS starts another environment, a request waits for a free process.

    The emulator starts a process for each concurrent request, which takes a second of a core. Under load, all start at
    once, none finishes within its function's timeout, and the killed ones start again.
    """
    execute = lambda_svc._execute_function_warm
    free: dict[str, threading.Semaphore] = {}

    def execute_when_free(func: Any, event: Any, request_id: str) -> Any:
        name = (func.get("config") or func)["FunctionName"]
        with free.setdefault(name, threading.Semaphore(_WORKERS_OF_A_FUNCTION)):
            return execute(func, event, request_id)

    lambda_svc._execute_function_warm = execute_when_free


_WORKERS_OF_A_FUNCTION = 2 * (os.cpu_count() or 1)


def read_logs_to_their_end() -> None:
    """Marks the end of each request's log. The emulator asks every millisecond whether another line has come.

    A request that logs nothing takes it 50 ms to give up, and most of the CPU time that it spends on the request.
    """
    answer = "        _real_stdout.flush()\n\nrun()\n"
    if not lambda_runtime._PYTHON_WORKER_SCRIPT.endswith(answer):
        raise RuntimeError("the emulator's Python worker has changed: local/adapters.py must follow")
    # On a line of its own, also where the last line of the log has no end
    mark = f"        sys.stderr.write('\\n{_END_OF_LOG}\\n')\n        sys.stderr.flush()\n"
    lambda_runtime._PYTHON_WORKER_SCRIPT = lambda_runtime._PYTHON_WORKER_SCRIPT.removesuffix(answer) + mark + answer

    def read_stderr(worker: lambda_runtime.Worker) -> None:
        lines = worker._stderr_queue  # when it starts another process, it has another queue
        for line in worker._proc.stderr:
            lines.put(line.rstrip("\n"))
        lines.put(_END_OF_LOG)  # of a process that has ended in the middle of a request

    def log_of_request(worker: lambda_runtime.Worker) -> str:
        return "\n".join(iter(worker._stderr_queue.get, _END_OF_LOG)).removesuffix("\n")

    lambda_runtime.Worker._read_stderr = read_stderr
    lambda_runtime.Worker._drain_stderr_bounded = log_of_request


# Nothing that a function logs, so no text that it could know
_END_OF_LOG = f"end-{secrets.token_hex(16)}"


def fork_workers() -> None:
    """Forks a function's process from one that has imported the SDK; the emulator starts a new interpreter for each."""
    server = ForkServer()

    def start(command: Sequence[str], **options: Any) -> Any:
        program, script = command
        if program != sys.executable:
            return subprocess.Popen(command, **options)
        return server.start(script, cwd=options["cwd"], env=options["env"])

    lambda_runtime.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": start})


def finish_requests_under_way() -> None:
    """Applies new code and settings to new requests; the emulator would also end processes in the middle of one."""
    invalidate = lambda_runtime.invalidate_worker

    def invalidate_idle(function_name: str, **options: Any) -> None:
        busy = []
        with lambda_runtime._lock:
            for pool in lambda_runtime._workers.values():
                busy += [worker for worker in pool if worker.in_use and worker.func_name == function_name]
                pool[:] = [worker for worker in pool if worker not in busy]
        invalidate(function_name, **options)
        threading.Thread(target=_end_when_idle, args=(busy,), daemon=True).start()

    lambda_svc.invalidate_worker = invalidate_idle


def check_requests_of_functions() -> None:
    """Validates a function's requests as the services do, in the function's process, before they are sent."""
    install = f"""
import sys
sys.path.append({str(PROJECT_ROOT)!r})
from local import strict
sys.path.pop()  # a function has its own code, not the project's
strict.install()
"""
    lambda_runtime._PYTHON_WORKER_SCRIPT = install + lambda_runtime._PYTHON_WORKER_SCRIPT


def keep_exports_in_use() -> None:
    """Refuses to change or remove an imported export, as CloudFormation does; the emulator only keeps its stack."""
    resolve = stacks._resolve_stack_outputs

    def resolve_and_compare(*arguments: Any) -> Any:
        outputs, exports = resolve(*arguments)
        for name, export in _exports.items():
            if export["StackId"] == arguments[-1] and exports.get(name) != export:
                importers = [
                    other
                    for other, stack in _stacks.items()
                    if not stack["StackStatus"].startswith("DELETE")
                    and name in handlers._imported_export_names(stack, other)
                ]
                if importers:
                    verb = "updated" if name in exports else "deleted"
                    raise ValueError(f"Export {name} cannot be {verb} as it is in use by {' and '.join(importers)}")
        return outputs, exports

    stacks._resolve_stack_outputs = resolve_and_compare


def describe_stacks_that_are_done() -> None:
    """DescribeStacks waits for the stack that it names, if that is in progress.

    Otherwise cdk polls again after five seconds and the SDK's waiters after thirty; an update takes one or two here.
    """
    handle = ministack.app.SERVICE_HANDLERS["cloudformation"]

    async def handle_when_done(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
        request = parse_qs(body.decode(errors="replace"))
        if request.get("Action") == ["DescribeStacks"]:
            deadline = time.monotonic() + _LONGEST_DESCRIPTION_SECONDS
            while time.monotonic() < deadline and _is_in_progress(request.get("StackName")):
                await asyncio.sleep(0.05)
        return await handle(method, path, headers, body, query)

    ministack.app.SERVICE_HANDLERS["cloudformation"] = handle_when_done


_LONGEST_DESCRIPTION_SECONDS = 4  # less than any client's timeout


def _is_in_progress(named: list[str] | None) -> bool:
    """Whether an operation on the stack is in progress. name: of the stack, or its ARN."""
    return any(
        [name] == named or [stack["StackId"]] == named
        for name, stack in _stacks.items()
        if stack["StackStatus"].endswith("_IN_PROGRESS") and stack["StackStatus"] != "REVIEW_IN_PROGRESS"
    )


def count_loopback_as_tls() -> None:
    """Treats requests as encrypted. Bucket, topic and queues refuse plain HTTP, which the emulator uses locally."""
    pin = ministack.app.pin_request_origin
    ministack.app.pin_request_origin = lambda source_ip, _secure: pin(source_ip, True)
    iam_evaluator._request_origin = ContextVar("request_origin", default=("127.0.0.1", True))


def match_newlines_in_policies() -> None:
    """Lets `*` in a policy's resource match a newline in an object's key, as in IAM."""
    compile_pattern = iam_evaluator._fnmatch_compile

    def compile_across_lines(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        compiled = compile_pattern(pattern, ignore_case)
        return re.compile(compiled.pattern, compiled.flags | re.DOTALL)

    iam_evaluator._fnmatch_compile = compile_across_lines


def let_sagemaker_assume_roles() -> None:
    """Checks that a role trusts SageMaker for this account; the emulator sees a call by the account's root user."""
    evaluate = iam_evaluator.evaluate_trust_policy

    def evaluate_for_sagemaker(document: Any, caller_arn: str, context: Any) -> bool:
        if context.service_context.get("sts:rolesessionname") == SESSION_NAME:
            if "sagemaker.amazonaws.com" not in json.dumps(document):
                return False
            account = context.principal_account
            source = {
                "aws:sourceaccount": account,
                "aws:sourcearn": f"arn:aws:sagemaker:{os.environ['AWS_REGION']}:{account}:endpoint/stand-in",
            }
            context = dataclasses.replace(context, service_context={**context.service_context, **source})
        return bool(evaluate(document, caller_arn, context))

    iam_evaluator.evaluate_trust_policy = evaluate_for_sagemaker


def name_conditional_writes() -> None:
    """Adds the condition keys s3:if-none-match and s3:if-match, which the emulator lacks."""
    context_of = iam_actions.s3_service_context

    def context_with_condition(action: str, query: Any, path: str = "", headers: Any = None) -> dict[str, Any]:
        given = (headers or {}) if action == "s3:PutObject" else {}
        conditions = {f"s3:{name}": given[name] for name in ("if-none-match", "if-match") if given.get(name)}
        return {**context_of(action, query, path, headers), **conditions}

    iam_actions.s3_service_context = context_with_condition


def name_described_alarms() -> None:
    """Checks DescribeAlarms for named alarms; the emulator always checks the permission for all alarms.

    With this patch it checks the first alarm that the request names, where IAM checks each.
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html
    """
    resource_of = iam_actions.extract_resource_arn

    def named_resource(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> str:
        if service == "monitoring" and (names := re.search(rb'"AlarmNames": ?\["([^"]+)"', body)):
            _, region, account = rest
            return f"arn:aws:cloudwatch:{region}:{account}:alarm:{names[1].decode()}"
        return str(resource_of(service, method, path, headers, body, *rest))

    iam_actions.extract_resource_arn = named_resource


def take_events_of_services() -> None:
    """Accepts SageMaker's events from the stand-in, and sends CloudWatch's alarm events; the emulator does neither."""
    put_events = eventbridge._put_events

    def put_events_of_sagemaker(data: Any, allow_aws_source: bool = False) -> Any:
        sources = {entry.get("Source") for entry in data.get("Entries", [])}
        return put_events(data, allow_aws_source or sources == {"aws.sagemaker"})

    eventbridge._put_events = put_events_of_sagemaker
    dispatch = cloudwatch._dispatch_alarm_actions

    def dispatch_and_emit(alarm: Any, old_state: str, new_state: str, reason: str) -> None:
        dispatch(alarm, old_state, new_state, reason)
        detail = {
            "alarmName": alarm["AlarmName"],
            "state": {"value": new_state, "reason": reason},
            "previousState": {"value": old_state},
        }
        put_events(
            {
                "Entries": [
                    {
                        "Source": "aws.cloudwatch",
                        "DetailType": "CloudWatch Alarm State Change",
                        "Detail": json.dumps(detail),
                    }
                ]
            },
            True,
        )

    cloudwatch._dispatch_alarm_actions = dispatch_and_emit


def evaluate_outputs_of_parallel_states() -> None:
    """Applies the Output of a Parallel state with JSONata, which the emulator ignores."""
    run_branches = stepfunctions._run_parallel_branches

    def run_and_evaluate(state: Any, raw_input: Any, execution: Any, context: Any) -> Any:
        results, following = run_branches(state, raw_input, execution, context)
        output = stepfunctions._apply_jsonata_output(state, raw_input, context, result=results, default=results)
        return output, following

    stepfunctions._run_parallel_branches = run_and_evaluate


def leave_text_in_json_as_it_is() -> None:
    """Makes JSONata's `$string` and `&` render non-ASCII text without escapes.

    The reference is JavaScript's JSON.stringify, which escapes only lone surrogates; jsonata-python escapes all.
    """

    def without_escapes(encoder: json.JSONEncoder, **options: Any) -> None:
        json.JSONEncoder.__init__(encoder, **{**options, "ensure_ascii": False})

    Functions.Encoder.__init__ = without_escapes
    write = Functions._string

    def write_with_halves_escaped(value: Any, prettify: bool) -> str:
        return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", write(value, prettify))

    Functions._string = write_with_halves_escaped


def parse_expressions_once() -> None:
    """Makes JSONata keep the syntax tree of an expression: to parse it takes as long as to evaluate it."""
    parse = Parser.parse

    @functools.lru_cache(maxsize=1_000)
    def parsed(expression: str, regex_engine: Any) -> Any:
        return parse(Parser(), expression, regex_engine)

    Parser.parse = lambda _, *arguments: parsed(*arguments)


def bound_roles() -> None:
    """Sets a role's permissions boundary, and refuses an unknown one, as CloudFormation does; the emulator ignores it.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-role.html
    """
    handlers_of_roles = provisioners._RESOURCE_HANDLERS["AWS::IAM::Role"]
    create, update = handlers_of_roles["create"], handlers_of_roles["update"]

    def bounded(made: Any, properties: Any) -> Any:
        iam._roles[made[0]]["PermissionsBoundary"] = properties.get("PermissionsBoundary")
        return made

    def check(properties: Any) -> None:
        boundary = properties.get("PermissionsBoundary")
        if boundary and not iam.policy_known(boundary):
            raise ValueError(f"Scope ARN: {boundary} does not exist or is not attachable.")

    def create_bounded(logical_id: str, properties: Any, stack_name: str) -> Any:
        check(properties)
        return bounded(create(logical_id, properties, stack_name), properties)

    def update_bounded(physical_id: str, old: Any, properties: Any, stack_name: str, logical_id: str = "") -> Any:
        check(properties)
        return bounded(update(physical_id, old, properties, stack_name, logical_id), properties)

    handlers_of_roles |= {"create": create_bounded, "update": update_bounded}


def read_metrics_from_logs() -> None:
    """Converts log lines in the embedded metric format to data points, as CloudWatch does. The emulator does not."""
    execute = lambda_svc._execute_function_warm

    def execute_and_read_metrics(func: Any, event: Any, request_id: str) -> Any:
        result = execute(func, event, request_id)
        for line in (result.get("log") or "").splitlines():
            if '"_aws"' in line:
                with contextlib.suppress(ValueError, KeyError, TypeError):  # as on AWS, only a log line if malformed
                    _store_metrics(json.loads(line))
        return result

    lambda_svc._execute_function_warm = execute_and_read_metrics


def _store_metrics(line: dict[str, Any]) -> None:
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"] or [[]]:
            dimensions = {name: line[name] for name in names}
            for metric in directive["Metrics"]:
                key = (directive["Namespace"], metric["Name"], cloudwatch._dims_key(dimensions))
                cloudwatch._metric_bucket(key).append(
                    {
                        "Timestamp": line["_aws"]["Timestamp"] / 1000,
                        "Value": float(line[metric["Name"]]),
                        "Unit": metric.get("Unit", "None"),
                        "Dimensions": dimensions,
                    }
                )
    cloudwatch._evaluate_all_alarms()


def evaluate_alarms_as_cloudwatch_does() -> None:
    """Replaces the emulator's alarms, which ignore dimensions, further periods, missing data and metric math."""
    record = provisioners._cw_metric_alarm_record

    def record_with_metric_math(name: str, properties: Any) -> Any:
        if "Metrics" not in properties:
            return record(name, properties)
        single = {key: value for key, value in properties.items() if key != "Metrics"}
        alarm = record(name, {**single, "MetricName": "none", "Namespace": "none"})
        for key in ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Dimensions", "Unit"):
            del alarm[key]
        return {**alarm, "Metrics": properties["Metrics"]}

    provisioners._cw_metric_alarm_record = record_with_metric_math
    cloudwatch._evaluate_alarm = alarms.evaluate
    evaluation = alarms.Evaluation(cloudwatch._evaluate_all_alarms)
    cloudwatch._evaluate_all_alarms = evaluation.soon
    describe = cloudwatch._describe_alarms

    def describe_evaluated(*request: Any, **protocol: Any) -> Any:
        evaluation.if_due()
        return describe(*request, **protocol)

    cloudwatch._describe_alarms = describe_evaluated


def write_whole_histories() -> None:
    """Adds to a history the states of every iteration, and each event's previous event, which the emulator lacks.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
    """
    add_event, run_sub_machine = stepfunctions._add_event, stepfunctions._run_sub_machine
    lock = threading.Lock()  # iterations run concurrently, and an event's id is its position
    previous: ContextVar[int] = ContextVar("previous", default=0)
    running: ContextVar[Any] = ContextVar("running")

    def add_linked_event(execution: Any, event_type: str, details: Any = None) -> Any:
        with lock:
            event = add_event(execution, event_type, {"previousEventId": previous.get(), **(details or {})})
        previous.set(event["id"])
        return event

    def run_iteration(states: Any, start_at: str, item: Any, execution: Any, context: Any) -> Any:
        running.set(execution)
        if "Map" not in context or "mapRunArn" in execution:  # a child of a Distributed Map has its own history
            return run_sub_machine(states, start_at, item, execution, context)
        details = {"index": context["Map"]["Item"]["Index"]}
        add_linked_event(execution, "MapIterationStarted", {"mapIterationStartedEventDetails": details})
        try:
            result = run_sub_machine(states, start_at, item, execution, context)
        except Exception:
            add_linked_event(execution, "MapIterationFailed", {"mapIterationFailedEventDetails": details})
            raise
        add_linked_event(execution, "MapIterationSucceeded", {"mapIterationSucceededEventDetails": details})
        return result

    def entering(kind: str, execute: Any) -> Any:
        def enter_and_execute(state: Any, raw_input: Any, *rest: Any) -> Any:
            context = rest[-1]
            if "Map" in context:
                details = {"stateEnteredEventDetails": {"name": context["State"]["Name"]}}
                add_linked_event(running.get(), f"{kind}StateEntered", details)
            return execute(state, raw_input, *rest)

        return enter_and_execute

    stepfunctions._add_event = add_linked_event
    stepfunctions._run_sub_machine = run_iteration
    for kind in ("Pass", "Task", "Choice", "Wait"):
        name = f"_execute_{kind.lower()}"
        setattr(stepfunctions, name, entering(kind, getattr(stepfunctions, name)))


def call_services_as_the_state_machine() -> None:
    """Step Functions calls S3 and SageMaker with the state machine's role.

    The emulator calls S3 without credentials and bodies, and has no SageMaker. To enforce the role's policies, this
    sends `aws-sdk:s3:*`, `aws-sdk:sagemaker:*` and `sagemaker:create...Job.sync` to the emulator's S3 and to the
    stand-in with a session of the role, and invokes functions and publishes to topics only if the role may.
    """
    execute_task = stepfunctions._execute_task
    invoke = stepfunctions._invoke_resource
    role_arn: ContextVar[str] = ContextVar("role_arn")

    def execute_task_in_role(state: Any, raw_input: Any, execution: Any, context: Any) -> Any:
        # A child of a Distributed Map has its own name below that of its state machine
        state_machine_arn = execution["stateMachineArn"].partition("/")[0]
        role_arn.set(stepfunctions._state_machines[state_machine_arn]["roleArn"])
        return execute_task(state, raw_input, execution, context)

    def invoke_in_role(resource: str, arguments: Any) -> Any:
        integration = resource.removeprefix("arn:aws:states:::")
        check_request(integration, arguments)
        if guarded := _GUARDED.get(integration):
            action, target, error = guarded
            _check_permissions(role_arn.get(), [Permission(action, arguments[target])], error)
        if job := _SAGEMAKER_JOBS.get(integration):
            return _run_sagemaker_job(role_arn.get(), job, arguments)
        if integration in _FOR_ROLE:
            return _call_for_role(role_arn.get(), integration, arguments)
        kind, _, call = integration.partition(":")
        service, _, action = call.partition(":")
        if kind != "aws-sdk" or service not in _SDK_ERROR_PREFIXES:
            return invoke(resource, arguments)
        return _call_sdk(role_arn.get(), service, action, arguments)

    stepfunctions._execute_task = execute_task_in_role
    stepfunctions._invoke_resource = invoke_in_role


# Prefix of an error's name by service; the names are those of the Java SDK's exceptions
_SDK_ERROR_PREFIXES = {"s3": "S3", "sagemaker": "SageMaker"}
# Kind of job by `.sync` integration (https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html)
_SAGEMAKER_JOBS = {
    "sagemaker:createTrainingJob.sync": "TrainingJob",
    "sagemaker:createTransformJob.sync": "TransformJob",
}
_JOB_POLL_SECONDS = 0.5
# Action, the argument that names the resource, and how AWS names the refusal
_GUARDED = {
    "lambda:invoke": ("lambda:InvokeFunction", "FunctionName", "Lambda.AWSLambdaException"),
    "sns:publish": ("sns:Publish", "TopicArn", "SNS.AuthorizationErrorException"),
}


# Calls whose resource the emulator's IAM does not support: permissions are checked here, and the account calls
_FOR_ROLE = {
    "aws-sdk:cloudformation:describeStacks": "CloudFormation.CloudFormationException",
    "aws-sdk:cloudformation:updateStack": "CloudFormation.CloudFormationException",
    "aws-sdk:sfn:listExecutions": "Sfn.SfnException",
    "states:startExecution": "StepFunctions.AWSStepFunctionsException",
}


# How AWS names a service's refusal of a request by integration: errors that the service's model does not have go by the
# name of the SDK's own exception (https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html)
_REFUSALS = {
    "lambda": "Lambda.AWSLambdaException",
    "sns": "SNS.InvalidParameterException",
    "sagemaker": "SageMaker.AmazonSageMakerException",
    "states": "StepFunctions.AWSStepFunctionsException",
    "aws-sdk:cloudformation": "CloudFormation.CloudFormationException",
    "aws-sdk:s3": "S3.S3Exception",
    "aws-sdk:sagemaker": "SageMaker.SageMakerException",
    "aws-sdk:sfn": "Sfn.SfnException",
}


def check_request(integration: str, arguments: Any) -> None:
    """Fail the task with AWS's error if the service would refuse the request."""
    service = integration.rpartition(":")[0]
    if service not in _REFUSALS:
        return
    operation, request = strict.task_request(integration, arguments)
    try:
        strict.check(operation, request)
    except strict.RefusedError as error:
        raise stepfunctions._ExecutionError(_REFUSALS[service], str(error)) from error
    except ParamValidationError as error:  # Step Functions itself validates members and types
        raise stepfunctions._ExecutionError("States.Runtime", str(error)) from error


def _call_for_role(role_arn: str, integration: str, arguments: Any) -> Any:
    """One call, whose permissions the role must have."""
    operation, request = strict.task_request(integration, arguments)
    service = operation.service_model.service_name
    call = Call(
        operation=operation.name,
        request=request,
        region=os.environ["AWS_REGION"],
        account=role_arn.split(":")[4],
        ssm_parameters=_ssm_parameters(request["StackName"]) if operation.name == "UpdateStack" else (),
    )
    refused = _FOR_ROLE[integration]
    _check_permissions(role_arn, needed(call), refused)
    client: Any = _client(
        service,
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        aws_session_token="",
    )
    try:
        answer = getattr(client, xform_name(operation.name))(**request)
    except ClientError as error:
        code = error.response["Error"]["Code"].removesuffix("Exception")
        is_modeled = code in {shape.name.removesuffix("Exception") for shape in operation.service_model.error_shapes}
        name = f"{refused.partition('.')[0]}.{code}Exception" if is_modeled else refused
        raise stepfunctions._ExecutionError(name, str(error)) from error
    del answer["ResponseMetadata"]
    return _capitalized(json.loads(json.dumps(answer, default=_as_json)))


def _ssm_parameters(stack_name: str) -> tuple[str, ...]:
    """Names of the SSM parameters that a stack's template reads."""
    declared = _stacks[stack_name]["_template"].get("Parameters", {}).values()
    return tuple(p["Default"] for p in declared if p["Type"].startswith("AWS::SSM::Parameter::Value"))


def _capitalized(answer: Any) -> Any:
    """The members with Step Functions' capitalization, also for its own API."""
    if isinstance(answer, dict):
        return {f"{name[0].upper()}{name[1:]}": _capitalized(value) for name, value in answer.items()}
    return [_capitalized(item) for item in answer] if isinstance(answer, list) else answer


def _call_sdk(role_arn: str, service: str, action: str, arguments: Any) -> Any:
    """Make one call with a session of the role. Errors get the names that Retry and Catch match."""
    client: Any = client_of_role(role_arn, service)
    operation, request = strict.task_request(f"{service}:{action}", arguments)
    try:
        response = getattr(client, xform_name(action))(**request)
    except ClientError as error:
        raise stepfunctions._ExecutionError(error_name(service, operation, error), str(error)) from error
    del response["ResponseMetadata"]
    return json.loads(json.dumps(response, default=_as_json))


def error_name(service: str, operation: OperationModel, error: ClientError) -> str:
    """The name of an error for Retry and Catch. Most of S3's, such as PreconditionFailed, are not in its model."""
    code = error.response["Error"]["Code"].removesuffix("Exception")
    if service == "s3" and code not in {shape.name for shape in operation.service_model.error_shapes}:
        return _REFUSALS["aws-sdk:s3"]
    return f"{_SDK_ERROR_PREFIXES[service]}.{code}Exception"


def _as_json(value: Any) -> str:
    """Convert what JSON cannot represent: an object's content, or a time."""
    return str(value.read().decode() if hasattr(value, "read") else value)


def _run_sagemaker_job(role_arn: str, kind: str, arguments: Any) -> Any:
    """Create the job, wait until it ends, and return its description. A failed job fails the task."""
    region, account = os.environ["AWS_REGION"], role_arn.split(":")[4]
    call = Call(operation=f"create{kind}.sync", request=arguments, region=region, account=account)
    _check_permissions(role_arn, needed(call), "SageMaker.AccessDeniedException")
    tags = [*arguments.get("Tags", []), {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}]
    _call_sdk(role_arn, "sagemaker", f"create{kind}", {**arguments, "Tags": tags})
    name = {f"{kind}Name": arguments[f"{kind}Name"]}
    while True:
        job = _call_sdk(role_arn, "sagemaker", f"describe{kind}", name)
        status = job[f"{kind}Status"]
        if status not in {"InProgress", "Stopping"}:
            break
        time.sleep(_JOB_POLL_SECONDS)
    if status != "Completed":
        raise stepfunctions._ExecutionError("States.TaskFailed", json.dumps(job))
    return job


def _check_permissions(role_arn: str, permissions: Sequence[Permission], error: str) -> None:
    """Fail the task unless the role's policies, as they are now, allow all of it."""
    access_key = authorization.credentials_of(role_arn)["AWS_ACCESS_KEY_ID"]
    if why := authorization.refusal(permissions, access_key=access_key):
        raise stepfunctions._ExecutionError(error, why)


def client_of_role(role_arn: str, service: str) -> Any:
    """A client with a session of an execution role, such as the emulator gives to each function."""
    credentials = authorization.credentials_of(role_arn)  # each time, because the emulator has to register the session
    with _clients_lock:
        return _client(service, **{name.lower(): value for name, value in credentials.items()})


@functools.cache  # a client takes 0.1 s of a core and 11 MB, and a role's credentials stay the same
def _client(service: str, *, aws_access_key_id: str, aws_secret_access_key: str, aws_session_token: str) -> Any:
    session: Any = boto3.Session(
        aws_access_key_id=aws_access_key_id,
        aws_secret_access_key=aws_secret_access_key,
        aws_session_token=aws_session_token or None,
    )
    return session.client(service)


_clients_lock = threading.Lock()
