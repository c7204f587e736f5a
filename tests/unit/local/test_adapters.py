"""Each adapter of local/adapters.py fills a gap in the emulator: these tests fail when the gap is closed.

They look at the emulator as it is installed; `apply` is never called here. What the adapters refuse is below.
"""

import asyncio
import inspect
import io
import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import botocore.session
import jsonata
import ministack.app
import pytest
from botocore.exceptions import ClientError
from jsonata.parser import Parser
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import budgets as emulated_budgets
from ministack.services import cloudwatch, eventbridge, iam, lambda_svc, scheduler, stepfunctions
from ministack.services.cloudformation import provisioners, stacks

from local import adapters, authorization, budgets, schedules
from local.permissions import Permission
from stacks.model.hours import WeeklyHours


def test_the_adapters_are_written_for_this_version() -> None:
    assert version("ministack") == "1.5.33"


def test_jsonata_python_still_escapes_text() -> None:
    source = inspect.getsource(jsonata.functions)
    assert "json.dumps(arg, cls=Functions.Encoder, separators=(',', ':'))" in source
    assert "ensure_ascii" not in source


def test_jsonata_python_still_parses_an_expression_for_each_evaluation() -> None:
    assert "self.ast = self.parser.parse(expr, regex_engine)" in inspect.getsource(jsonata.Jsonata)


def test_an_expression_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parser, "parse", Parser.parse)
    adapters.parse_expressions_once()
    first, second = (jsonata.Jsonata("$states.input.a + 1") for _ in range(2))
    assert first.ast is second.ast


def test_the_emulator_has_no_sagemaker() -> None:
    assert not [kind for kind in provisioners._RESOURCE_HANDLERS if kind.startswith("AWS::SageMaker::")]


def test_the_emulator_still_scales_nothing() -> None:
    assert not [kind for kind in provisioners._RESOURCE_HANDLERS if kind.startswith("AWS::ApplicationAutoScaling::")]


def resolve_outputs(outputs: dict[str, Any]) -> Any:
    return stacks._resolve_stack_outputs(outputs, {}, {}, {}, {}, "producer", "producer-id")


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack `producer` exports the bucket's name, which `consumer` imports."""
    value = {"Name": "producer:Name", "Value": "bucket", "StackId": "producer-id"}
    template = {"Resources": {"Function": {"Properties": {"Bucket": {"Fn::ImportValue": "producer:Name"}}}}}
    consumer = {"StackStatus": "CREATE_COMPLETE", "_template": template}
    monkeypatch.setattr(adapters, "_exports", {"producer:Name": value})
    monkeypatch.setattr(adapters, "_stacks", {"producer": {"StackStatus": "CREATE_COMPLETE"}, "consumer": consumer})
    monkeypatch.setattr(stacks, "_resolve_stack_outputs", stacks._resolve_stack_outputs)


@pytest.mark.parametrize("outputs", [{}, {"Name": {"Value": "another", "Export": {"Name": "producer:Name"}}}])
def test_the_emulators_updates_still_take_exports_away(imported: None, outputs: dict[str, Any]) -> None:
    resolve_outputs(outputs)


@pytest.mark.parametrize(
    ("outputs", "verb"),
    [({}, "deleted"), ({"Name": {"Value": "another", "Export": {"Name": "producer:Name"}}}, "updated")],
)
def test_an_export_in_use_is_neither_changed_nor_removed(imported: None, outputs: dict[str, Any], verb: str) -> None:
    adapters.keep_exports_in_use()
    with pytest.raises(ValueError, match=f"producer:Name cannot be {verb} as it is in use by consumer"):
        resolve_outputs(outputs)
    resolve_outputs({"Name": {"Value": "bucket", "Export": {"Name": "producer:Name"}}})


@pytest.mark.parametrize("named", ["scones-dev-Model", "its-arn"])
def test_a_stack_in_progress_is_described_when_it_is_done(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    stack = {"StackStatus": "UPDATE_IN_PROGRESS", "StackId": "its-arn"}

    async def status(*_: object) -> str:
        return stack["StackStatus"]

    async def done(_: float) -> None:
        stack["StackStatus"] = "UPDATE_COMPLETE"

    monkeypatch.setattr(adapters, "_stacks", {"scones-dev-Model": stack})
    monkeypatch.setattr(asyncio, "sleep", done)
    monkeypatch.setitem(ministack.app.SERVICE_HANDLERS, "cloudformation", status)
    adapters.describe_stacks_that_are_done()
    body = f"Action=DescribeStacks&StackName={named}".encode()
    with pytest.raises(StopIteration, match="UPDATE_COMPLETE"):  # how a coroutine returns, without a loop
        ministack.app.SERVICE_HANDLERS["cloudformation"]("POST", "/", {}, body, {}).send(None)


def test_the_emulators_templates_still_have_no_budgets() -> None:
    assert "AWS::Budgets::Budget" not in provisioners._RESOURCE_HANDLERS


BUDGET = {"BudgetName": "scones-dev", "BudgetType": "COST", "TimeUnit": "MONTHLY"}


def test_a_budget_is_made_changed_and_deleted_by_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioners, "_RESOURCE_HANDLERS", {})
    budgets.register()
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Budgets::Budget"]
    subscriber = {"SubscriptionType": "SNS", "Address": "arn:aws:sns:us-east-1:000000000000:topic"}
    notification = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80}
    told = [{"Notification": notification, "Subscribers": [subscriber]}]

    def limited(amount: float) -> dict[str, Any]:
        budget = {**BUDGET, "BudgetLimit": {"Amount": amount, "Unit": "USD"}}
        return {"Budget": budget, "NotificationsWithSubscribers": told}

    assert handlers["create"]("Budget", limited(100), "stack") == ("scones-dev", {})
    with pytest.raises(ValueError, match="already exists"):
        handlers["create"]("Budget", limited(100), "stack")
    handlers["update"]("scones-dev", limited(100), limited(50), "stack")
    assert emulated_budgets._budgets["scones-dev"]["BudgetLimit"]["Amount"] == "50"
    handlers["delete"]("scones-dev", {})
    assert "scones-dev" not in emulated_budgets._budgets
    with pytest.raises(ValueError, match="Missing required parameter"):
        handlers["create"]("Budget", {"Budget": {"BudgetName": "scones-dev", "Colour": "red"}}, "stack")


def test_the_emulators_scheduler_still_ignores_time_zones() -> None:
    assert "Timezone" not in inspect.getsource(provisioners._scheduler_schedule_create)
    assert "Timezone" not in inspect.getsource(scheduler._tick_schedules)


@pytest.fixture
def fired(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the Scheduler starts, as local time and action, in a week in which Berlin's clocks go back; with the hours
    of an endpoint as a template has them."""
    for module, name in (
        (scheduler, "_tick_schedules"),
        (scheduler, "_SCHEDULE_TICK_INTERVAL"),
        (eventbridge, "_parse_cron_fields"),
        (eventbridge, "_cron_next_fire"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    kind = "AWS::Scheduler::Schedule"
    monkeypatch.setattr(provisioners, "_RESOURCE_HANDLERS", {kind: dict(provisioners._RESOURCE_HANDLERS[kind])})
    started: list[tuple[str, str]] = []
    clock = SimpleNamespace(now=datetime(2026, 10, 24, tzinfo=UTC))

    def start(target: dict[str, str], *_: Any) -> None:
        there = clock.now.astimezone(ZoneInfo("Europe/Berlin"))
        started.append((f"{there:%a %d %H:%M}", json.loads(target["Input"])["action"]))

    monkeypatch.setattr(scheduler, "time", SimpleNamespace(time=lambda: datetime.timestamp(clock.now)))
    monkeypatch.setattr(eventbridge, "_invoke_target", start)
    schedules.register()
    hours = WeeklyHours.parse("mon-fri 08:00-18:00 Europe/Berlin")
    for action, expression in (("resume", hours.starts), ("pause", hours.ends)):
        target = {"Arn": "arn:aws:states:a:1:stateMachine:b", "RoleArn": "r", "Input": json.dumps({"action": action})}
        schedule = {"ScheduleExpression": expression, "ScheduleExpressionTimezone": hours.time_zone, "Target": target}
        provisioners._RESOURCE_HANDLERS[kind]["create"](action, schedule, "stack")
    while clock.now < datetime(2026, 10, 29, tzinfo=UTC):
        scheduler._tick_schedules()
        clock.now += timedelta(minutes=30)
    scheduler.reset()
    return started


def test_the_scheduler_itself_resumes_and_pauses_the_endpoint_by_the_clock_of_its_hours(
    fired: list[tuple[str, str]],
) -> None:
    assert fired == [
        (f"{day} {hour}", action)
        for day in ("Mon 26", "Tue 27", "Wed 28")
        for hour, action in (("08:00", "resume"), ("18:00", "pause"))
    ]


TRUST = {
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    "Version": "2012-10-17",
}
BOUNDARY = "arn:aws:iam::000000000000:policy/boundary"


@pytest.fixture
def roles(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The emulator's handlers of roles, beside a policy that knows S3 only."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    policy = {"DefaultVersionId": "v1", "Versions": {"v1": {"Document": json.dumps(document)}}}
    monkeypatch.setitem(iam._policies, BOUNDARY, policy)
    handlers = {"AWS::IAM::Role": dict(handlers_of_roles())}
    monkeypatch.setattr(provisioners, "_RESOURCE_HANDLERS", handlers)
    return handlers


def handlers_of_roles() -> dict[str, Any]:
    found: dict[str, Any] = provisioners._RESOURCE_HANDLERS["AWS::IAM::Role"]
    return found


def properties(boundary: str | None) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": ["s3:GetObject", "sqs:SendMessage"], "Resource": "*"}
    policies = [{"PolicyName": "p", "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}]
    bound = {"PermissionsBoundary": boundary} if boundary else {}
    return {"AssumeRolePolicyDocument": TRUST, "Policies": policies, **bound}


def may(role: str, action: str) -> bool:
    access_key = authorization.credentials_of(f"arn:aws:iam::000000000000:role/{role}")["AWS_ACCESS_KEY_ID"]
    return not authorization._denial(access_key, Permission(action, "*"))


def test_the_emulators_templates_still_bound_no_role(roles: dict[str, Any]) -> None:
    name, _ = handlers_of_roles()["create"]("Role", properties(BOUNDARY), "stack")
    assert not iam._roles[name].get("PermissionsBoundary")


def test_a_role_does_what_its_policies_and_its_boundary_allow(
    roles: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(ministack.app, "AUTH", True)
    adapters.bound_roles()
    name, _ = handlers_of_roles()["create"]("Role", properties(BOUNDARY), "stack")
    assert [may(name, action) for action in ("s3:GetObject", "s3:PutObject", "sqs:SendMessage")] == [True, False, False]
    handlers_of_roles()["update"](name, properties(BOUNDARY), properties(None), "stack", "Role")
    assert may(name, "sqs:SendMessage")
    handlers_of_roles()["update"](name, properties(None), properties(BOUNDARY), "stack", "Role")
    assert not may(name, "sqs:SendMessage")


def test_a_boundary_that_does_not_exist_stops_the_deployment(roles: dict[str, Any]) -> None:
    adapters.bound_roles()
    with pytest.raises(ValueError, match="policy/absent does not exist or is not attachable"):
        handlers_of_roles()["create"]("Role", properties(f"{BOUNDARY[:-8]}absent"), "stack")


def test_the_emulators_functions_still_hide_the_class_of_an_error() -> None:
    assert 'error_type = "Runtime.HandlerError"' in inspect.getsource(lambda_svc._execute_function_warm)


def test_the_emulator_still_starts_a_workers_process_from_nothing() -> None:
    assert "subprocess.Popen(\n            [binary, worker_path]," in inspect.getsource(lambda_runtime.Worker._spawn)


def test_the_emulators_workers_still_end_with_an_error() -> None:
    assert '"status") == "error":\n                proc, self._proc = self._proc, None' in inspect.getsource(
        lambda_runtime.Worker.invoke
    )


def test_the_emulators_state_machines_still_call_services_without_a_role() -> None:
    assert list(inspect.signature(stepfunctions._invoke_aws_sdk_integration).parameters) == ["resource", "input_data"]
    assert list(inspect.signature(stepfunctions._invoke_resource).parameters) == ["resource", "input_data"]


@pytest.mark.parametrize(
    "integration",
    ["sagemaker:createTrainingJob.sync", "sagemaker:createTransformJob.sync", "aws-sdk:sagemaker:describeEndpoint"],
)
def test_the_emulators_state_machines_still_cannot_call_sagemaker(integration: str) -> None:
    with pytest.raises(stepfunctions._ExecutionError) as caught:
        stepfunctions._invoke_resource(f"arn:aws:states:::{integration}", {})
    assert "not yet implemented" in caught.value.cause or "not supported" in caught.value.cause


def test_the_emulators_state_machines_still_invoke_and_publish_without_a_role() -> None:
    for function in (stepfunctions._invoke_resource, stepfunctions._call_lambda, stepfunctions._invoke_sns_publish):
        assert "role" not in inspect.getsource(function).lower()


def test_the_emulators_histories_still_have_no_iterations() -> None:
    source = inspect.getsource(stepfunctions)
    assert "MapIterationStarted" not in source
    assert "previousEventId" not in source


def test_the_emulators_functions_still_start_with_the_accounts_credentials() -> None:
    config = {
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "Role": "arn:aws:iam::000000000000:role/r",
    }
    assert lambda_runtime.execution_credentials(config)["AWS_ACCESS_KEY_ID"] == "000000000000"


def test_the_emulators_wildcards_still_stop_at_a_newline() -> None:
    assert not iam_evaluator._fnmatch_compile("arn:aws:s3:::b/*", False).match("arn:aws:s3:::b/a\nb")


def test_the_emulator_still_lacks_the_condition_keys_of_conditional_writes() -> None:
    headers = {"if-none-match": "*"}
    assert iam_actions.s3_service_context("s3:PutObject", {}, "/bucket/key", headers) == {}


def test_the_emulator_still_checks_all_alarms_for_any_request() -> None:
    body = json.dumps({"AlarmNames": ["scones-dev-drift"]}).encode()
    request: Any = ("POST", "/", {}, body, {}, "us-east-1", "000000000000")
    assert iam_actions.extract_resource_arn("monitoring", *request) == "*"


def test_a_request_for_an_alarm_by_name_is_about_that_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iam_actions, "extract_resource_arn", iam_actions.extract_resource_arn)
    adapters.name_described_alarms()
    body = json.dumps({"AlarmNames": ["scones-dev-drift"]}).encode()
    for found, expected in ((body, "arn:aws:cloudwatch:us-east-1:000000000000:alarm:scones-dev-drift"), (b"{}", "*")):
        request: Any = ("POST", "/", {}, found, {}, "us-east-1", "000000000000")
        assert iam_actions.extract_resource_arn("monitoring", *request) == expected


def test_the_emulator_still_counts_its_own_calls_as_plain_http() -> None:
    assert iam_evaluator._request_origin.get()[1] is False


def test_the_emulator_still_omits_the_account_for_which_sagemaker_assumes_a_role() -> None:
    principal = {"Service": "sagemaker.amazonaws.com"}
    trust = {
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": principal,
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": "000000000000"}},
            }
        ]
    }
    root = "arn:aws:iam::000000000000:root"
    context = iam_evaluator.EvalContext(
        principal_arn=root,
        principal_type="Root",
        principal_account="000000000000",
        action="sts:AssumeRole",
        resource_arn="arn:aws:iam::000000000000:role/r",
        region="us-east-1",
    )
    assert not iam_evaluator.evaluate_trust_policy(json.dumps(trust), root, context)


def test_the_emulator_still_makes_no_metrics_of_log_lines() -> None:
    for module in (lambda_svc, cloudwatch):
        assert "CloudWatchMetrics" not in inspect.getsource(module)


def test_the_emulators_templates_still_have_no_metric_math() -> None:
    with pytest.raises(ValueError, match="metric math"):
        provisioners._cw_metric_alarm_record("a", {"Metrics": [{}], "Threshold": 1})


def test_the_emulators_alarms_still_look_at_no_dimensions() -> None:
    alarm = {
        "AlarmName": "a",
        "Namespace": "gap",
        "MetricName": "m",
        "Dimensions": [{"Name": "Stage", "Value": "mine"}],
        "Statistic": "Sum",
        "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold",
        "StateValue": "INSUFFICIENT_DATA",
    }
    cloudwatch.reset()
    cloudwatch._store_datum("gap", "m", {"Stage": "another"}, time.time(), "None", 1, None, None, None)
    cloudwatch._evaluate_alarm(alarm)
    cloudwatch.reset()
    assert alarm["StateValue"] == "ALARM"


def test_the_emulator_still_forgets_the_output_of_a_parallel_state() -> None:
    assert "_apply_jsonata_output" not in inspect.getsource(stepfunctions._run_parallel_branches)


def test_the_emulator_still_takes_no_events_of_sagemaker_and_sends_none_of_alarms() -> None:
    assert "NotAuthorizedForSourceException" in inspect.getsource(eventbridge._put_events)
    assert "eventbridge" not in inspect.getsource(cloudwatch)


def test_the_emulator_still_accepts_any_reserved_concurrency() -> None:
    assert "UnreservedConcurrent" not in inspect.getsource(lambda_svc._put_function_concurrency)
    assert "ReservedConcurrentExecutions" not in inspect.getsource(provisioners)


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_runtime, "_workers", {})
    monkeypatch.setattr(lambda_svc, "acquire_worker", lambda_svc.acquire_worker)
    monkeypatch.setattr(lambda_svc, "invalidate_worker", lambda_svc.invalidate_worker)


def acquire_worker(function: str = "f") -> Any:
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{function}"
    worker, _ = lambda_svc.acquire_worker(function, {"Runtime": "python3.12", "FunctionArn": arn}, b"")
    return worker


def test_the_emulator_still_starts_a_process_for_each_request_under_way(pools: None) -> None:
    assert len({acquire_worker() for _ in range(100)}) == 100


def test_a_request_waits_where_enough_of_its_function_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: Queue[str] = Queue()
    finish = threading.Event()

    def execute(func: Any, *_: Any) -> None:
        begun.put(func["FunctionName"])
        finish.wait()

    monkeypatch.setattr(lambda_svc, "_execute_function_warm", execute)
    adapters.limit_workers()
    functions = ["f"] * (adapters._WORKERS_OF_A_FUNCTION + 1) + ["g"]
    with ThreadPoolExecutor(len(functions)) as pool:
        for name in functions:
            pool.submit(lambda_svc._execute_function_warm, {"FunctionName": name}, None, "1")
        assert sorted(begun.get() for _ in functions[1:]) == functions[1:]
        assert begun.empty()
        finish.set()
        assert begun.get() == "f"


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A process of a function that executes its events, with the adapter of its log."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as package:
        package.writestr("function.py", "import os, sys\ndef handler(event, context):\n    exec(event)\n")
    for name in ("_read_stderr", "_drain_stderr_bounded"):
        monkeypatch.setattr(lambda_runtime.Worker, name, getattr(lambda_runtime.Worker, name))
    monkeypatch.setattr(lambda_runtime, "_PYTHON_WORKER_SCRIPT", lambda_runtime._PYTHON_WORKER_SCRIPT)
    adapters.read_logs_to_their_end()
    arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    config = {"FunctionName": "f", "Runtime": "python3.12", "Handler": "function.handler", "FunctionArn": arn}
    worker = lambda_runtime.Worker("f", config, code.getvalue())
    yield worker
    worker.kill()


def test_the_emulator_still_waits_whether_lines_of_a_log_come() -> None:
    assert "time.sleep(" in inspect.getsource(lambda_runtime.Worker._drain_stderr_bounded)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the emulator leaves pipes to the garbage
def test_each_request_has_its_own_log_to_the_last_line(worker: Any) -> None:
    log_of = {
        "print('one'); print('two')": "one\ntwo",
        "pass": "",
        "sys.stderr.write('half a line')": "half a line",
        "print()": "",
        "raise ValueError(print('before'))": "before",
        "print('last words'); os._exit(1)": "last words",
        "print('in a new process')": "in a new process",
    }
    assert {event: worker.invoke(event, "1")["log"] for event in log_of} == log_of


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Workers whose processes have been ended."""
    ended: list[Any] = []
    monkeypatch.setattr(lambda_runtime, "kill_workers", ended.extend)
    return ended


def test_an_update_still_ends_the_emulators_requests_under_way(pools: None, ended: list[Any]) -> None:
    answering = acquire_worker()
    lambda_svc.invalidate_worker("f", qualifier="$LATEST")
    assert ended == [answering]


def test_a_request_under_way_is_finished_with_the_code_that_it_began_with(pools: None, ended: list[Any]) -> None:
    adapters.finish_requests_under_way()
    answering, idle, of_another_function = acquire_worker(), acquire_worker(), acquire_worker("g")
    lambda_runtime.release_worker(idle)
    lambda_svc.invalidate_worker("f", qualifier="$LATEST")
    assert ended == [idle]
    assert acquire_worker() not in {answering, idle}
    lambda_runtime.release_worker(answering)
    while answering not in ended:
        time.sleep(0.01)
    assert of_another_function not in ended


# State machines call services


def test_a_role_has_one_client_of_a_service_with_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ministack.app, "AUTH", True)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    one, another = (f"arn:aws:iam::000000000000:role/{name}" for name in ("one", "another"))
    with ThreadPoolExecutor() as pool:
        clients = set(pool.map(lambda _: adapters.client_of_role(one, "s3"), range(8)))
    assert len(clients) == 1
    keys = {
        client._request_signer._credentials.access_key
        for client in (*clients, adapters.client_of_role(another, "s3"), adapters.client_of_role(another, "sagemaker"))
    }
    assert keys == {authorization.credentials_of(role)["AWS_ACCESS_KEY_ID"] for role in (one, another)}


# Requests are checked as AWS does


def test_a_functions_process_checks_its_requests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refused = {
        "s3": ("get_object(Bucket='b', Key='x' * 1025)", "1024 bytes"),
        "ssm": ("put_parameter(Name='n', Value='x' * 4097)", "4096 bytes"),
        "cloudwatch": ("put_metric_data(Namespace=':n', MetricData=[])", "pattern"),
        "sagemaker": ("describe_model(ModelName='cut-')", "pattern"),
        "sagemaker-runtime": ("invoke_endpoint(EndpointName='e_', Body=b'')", "pattern"),
        "stepfunctions": ("describe_execution(executionArn='x' * 257)", "256"),
        "sns": ("publish(Message='m', Subject='two\\nlines')", "line breaks"),
    }
    (tmp_path / "function.py").write_text(
        "import boto3, sys\n"
        "assert 'stacks' not in sys.modules\n"
        "def handler(event, context): eval(f\"boto3.client('{event[0]}', region_name='us-east-1').{event[1]}\")\n"
    )
    monkeypatch.setattr(lambda_runtime, "_PYTHON_WORKER_SCRIPT", lambda_runtime._PYTHON_WORKER_SCRIPT)
    adapters.check_requests_of_functions()
    init = {"code_dir": str(tmp_path), "module": "function", "handler": "handler"}
    events = [{"event": [service, call]} for service, (call, _) in refused.items()]
    result = subprocess.run(
        [sys.executable, "-c", lambda_runtime._PYTHON_WORKER_SCRIPT],
        input="".join(f"{json.dumps(line)}\n" for line in (init, *events)),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    ready, *answers = map(json.loads, result.stdout.splitlines())
    assert ready["status"] == "ready"
    for (service, (_, rule)), answer in zip(refused.items(), answers, strict=True):
        assert answer["error"].startswith(f"AWS would refuse {service} "), answer
        assert rule in answer["error"]


@pytest.mark.parametrize(
    ("integration", "arguments", "error", "rule"),
    [
        (
            "aws-sdk:sagemaker:createModelPackage",
            {"ClientToken": "x" * 73},
            "SageMaker.SageMakerException",
            "at 'clientToken' failed to satisfy constraint",
        ),
        (
            "sagemaker:createTransformJob.sync",
            {"TransformJobName": "cut-"},
            "States.Runtime",
            'Missing required parameter in input: "ModelName"',
        ),
        ("aws-sdk:s3:putObject", {"Bucket": "b", "Key": "x" * 1025}, "S3.S3Exception", "1024 bytes"),
        ("sns:publish", {"Message": "m", "Subject": "x" * 100}, "SNS.InvalidParameterException", "less than 100"),
        ("lambda:invoke", {"FunctionName": "a b", "Payload": {}}, "Lambda.AWSLambdaException", "pattern"),
        ("lambda:invoke", {"FunctionName": "f", "Playload": {}}, "States.Runtime", "Playload"),
    ],
)
def test_a_state_machines_request_is_checked(integration: str, arguments: Any, error: str, rule: str) -> None:
    with pytest.raises(stepfunctions._ExecutionError) as caught:
        adapters.check_request(integration, arguments)
    assert caught.value.error == error
    assert rule in caught.value.cause


@pytest.mark.parametrize(
    ("code", "name"), [("NoSuchBucket", "S3.NoSuchBucketException"), ("PreconditionFailed", "S3.S3Exception")]
)
def test_an_error_missing_from_s3s_model_has_the_sdks_name(code: str, name: str) -> None:
    operation = botocore.session.get_session().get_service_model("s3").operation_model("PutObject")
    error = ClientError({"Error": {"Code": code, "Message": "m"}}, "PutObject")
    assert adapters.error_name("s3", operation, error) == name


def test_no_member_of_a_result_makes_it_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A function answers with what users have sent, and they know this code."""
    (tmp_path / "function.py").write_text(
        "def handler(event, context):\n    if event is None:\n        raise KeyError('k')\n    return event\n"
    )
    monkeypatch.setattr(lambda_runtime, "_PYTHON_WORKER_SCRIPT", lambda_runtime._PYTHON_WORKER_SCRIPT)
    answers: list[Any] = []
    monkeypatch.setattr(lambda_svc, "_execute_function_warm", lambda *_: {"body": answers.pop(0)})
    adapters.report_errors_by_class_name()
    item: dict[str, Any] = {name: {"stackTrace": []} for name in ("__raised__", "_RAISED", "raised", "errorType")}
    init = {"code_dir": str(tmp_path), "module": "function", "handler": "handler"}
    result = subprocess.run(
        [sys.executable, "-c", lambda_runtime._PYTHON_WORKER_SCRIPT],
        input="".join(f"{json.dumps(line)}\n" for line in (init, {"event": item}, {"event": None})),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers += [json.loads(line)["result"] for line in result.stdout.splitlines()[1:]]
    assert lambda_svc._execute_function_warm(None, None, "1") == {"body": item}
    failed = lambda_svc._execute_function_warm(None, None, "2")
    assert (failed["error"], failed["body"]["errorType"]) == (True, "KeyError")


def test_requests_for_other_services_are_left_to_the_emulator() -> None:
    adapters.check_request("glue:startJobRun", {"Anything": 1})
