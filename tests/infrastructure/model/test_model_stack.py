import json
from pathlib import Path
from typing import Any

import pytest
from ministack.services import stepfunctions
from ministack.services.cloudformation import engine

from local.sagemaker.deployment import Deployment
from stacks.config import ENDPOINT_EXISTS, ENDPOINT_PAUSED, load_environment, parse_environment
from stacks.shared.algorithm import ALGORITHMS, Algorithm
from stacks.shared.deployment_config import deployment_config, update_weight
from tests.conftest import LONGEST_NAME
from tests.infrastructure.conftest import LONGEST_BOUNDED_NAME, Template, definition_of, template_of, text
from tests.infrastructure.test_app import of_type


def test_the_model_serves_the_artifact_that_ssm_names_at_deploy_time(model: Template, environment: str) -> None:
    container = model.only("AWS::SageMaker::Model")["PrimaryContainer"]
    parameter = model.content["Parameters"][container["ModelDataUrl"]["Ref"]]
    assert parameter["Type"] == "AWS::SSM::Parameter::Value<String>"
    assert parameter["Default"] == f"/scones/{environment}/model/artifact-uri"


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_an_artifact_is_served_by_the_container_of_its_algorithm_whichever_is_configured(
    model: Template, environment: str, algorithm: Algorithm
) -> None:
    """As the parameter that lies beside the artifact's says when it is deployed."""
    (name,) = (
        name
        for name, parameter in model.content["Parameters"].items()
        if parameter.get("Default") == f"/scones/{environment}/model/algorithm"
    )
    parameters = {name: {"Value": algorithm.name}}
    conditions = engine._evaluate_conditions(model.content, parameters)
    container = model.only("AWS::SageMaker::Model")["PrimaryContainer"]
    served = {
        key: engine._resolve_refs(
            container[key], {}, parameters, conditions, model.content["Mappings"], "stack", "stack-id"
        )
        for key in ("Image", "Environment")
    }
    account = algorithm.registry_accounts["us-east-1"]
    assert served == {
        "Image": f"{account}.dkr.ecr.us-east-1.amazonaws.com/{algorithm.container.repository}:{algorithm.tag}",
        "Environment": algorithm.container.serving_environment or engine._NO_VALUE,
    }


def test_the_endpoint_captures_inputs_and_outputs(model: Template, environment: str) -> None:
    capture = model.only("AWS::SageMaker::EndpointConfig")["DataCaptureConfig"]
    assert capture["EnableCapture"] is True
    assert capture["InitialSamplingPercentage"] == load_environment(environment).endpoint.capture_percentage
    assert [option["CaptureMode"] for option in capture["CaptureOptions"]] == ["Input", "Output"]
    assert text(capture["DestinationS3Uri"]).startswith("s3://<")
    assert text(capture["DestinationS3Uri"]).endswith(">/data-capture")
    assert capture["CaptureContentTypeHeader"] == {"JsonContentTypes": ["application/json"]}


def test_instances_are_the_configured_ones(model: Template, environment: str) -> None:
    (variant,) = model.only("AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    config = load_environment(environment).endpoint
    assert variant["InstanceType"] == config.instance_type
    assert variant["InitialInstanceCount"] == config.instance_count


def test_a_new_artifact_is_a_rolling_replacement(model: Template, environment: str) -> None:
    """A fixed name would make CloudFormation refuse to replace the model or the endpoint config."""
    assert "ModelName" not in model.only("AWS::SageMaker::Model")
    assert "EndpointConfigName" not in model.only("AWS::SageMaker::EndpointConfig")
    assert model.only("AWS::SageMaker::Endpoint")["EndpointName"] == f"scones-{environment}"


def test_prod_follows_its_traffic_and_dev_does_not(model: Template, environment: str) -> None:
    targets = model.resources("AWS::ApplicationAutoScaling::ScalableTarget")
    assert bool(targets) == (environment == "prod")
    if targets:
        config = load_environment(environment).endpoint
        target = model.only("AWS::ApplicationAutoScaling::ScalableTarget")
        assert (target["MinCapacity"], target["MaxCapacity"]) == (config.instance_count, config.max_instance_count)
        (variant,) = model.only("AWS::SageMaker::EndpointConfig")["ProductionVariants"]
        assert text(target["ResourceId"]).endswith(f"/variant/{variant['VariantName']}")
        policy = model.only("AWS::ApplicationAutoScaling::ScalingPolicy")["TargetTrackingScalingPolicyConfiguration"]
        assert policy["TargetValue"] == config.invocations_per_instance
        assert policy["PredefinedMetricSpecification"] == {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
        }


@pytest.fixture(scope="module")
def serverless(variants: Path) -> dict[str, dict[str, Any]]:
    """Resources by stack of an environment whose endpoint is serverless."""
    return {
        path.name.split(".")[0].removeprefix("serverless")[:-8]: json.loads(path.read_text())["Resources"]
        for path in (variants / "assembly-serverless").glob("*.template.json")
    }


def test_a_serverless_endpoint_has_no_instances_and_captures_nothing(serverless: dict[str, dict[str, Any]]) -> None:
    (config,) = of_type(serverless["Model"], "AWS::SageMaker::EndpointConfig")
    (variant,) = config["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MaxConcurrency": 10, "MemorySizeInMB": 2048}
    assert not {"InstanceType", "InitialInstanceCount"} & set(variant)
    assert "DataCaptureConfig" not in config


def test_a_serverless_endpoint_accepts_no_isolated_model_and_retraining_creates_none(
    serverless: dict[str, dict[str, Any]],
) -> None:
    (model,) = of_type(serverless["Model"], "AWS::SageMaker::Model")
    assert model["EnableNetworkIsolation"] is False  # a release copies it from the model in service
    statements = [
        statement
        for policy in of_type(serverless["Retraining"], "AWS::IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
        if "sagemaker:CreateModel" in statement["Action"]
    ]
    assert len(statements) == 2
    assert not any("Condition" in statement for statement in statements)


def test_a_serverless_endpoint_has_no_traffic_to_shift_in_a_deployment_or_in_a_release(
    serverless: dict[str, dict[str, Any]],
) -> None:
    (endpoint,) = of_type(serverless["Model"], "AWS::SageMaker::Endpoint")
    assert "DeploymentConfig" not in endpoint
    functions = of_type(serverless["Retraining"], "AWS::Lambda::Function")
    variables = [f["Environment"]["Variables"] for f in functions]
    assert {text(each["DEPLOYMENT_CONFIG"]) for each in variables if "DEPLOYMENT_CONFIG" in each} == {"null"}


def test_no_alarm_waits_for_captures_of_a_serverless_endpoint(
    serverless: dict[str, dict[str, Any]],
) -> None:
    alarms = [alarm["AlarmName"] for alarm in of_type(serverless["Monitoring"], "AWS::CloudWatch::Alarm")]
    assert "scones-serverless-drift" in alarms
    assert "scones-serverless-capture-silent" not in alarms


def test_a_realtime_endpoint_has_nothing_to_warn_of(model: Template) -> None:
    assert "ServerlessConfig" not in json.dumps(model.content)


def test_an_update_bakes_while_alarms_watch_and_has_a_canary_where_there_can_be_one(
    model: Template, environment: str
) -> None:
    deployment = model.only("AWS::SageMaker::Endpoint")["DeploymentConfig"]
    policy = deployment["BlueGreenUpdatePolicy"]
    config = load_environment(environment).endpoint
    assert policy["TerminationWaitInSeconds"] == config.bake_minutes * 60
    routing = policy["TrafficRoutingConfiguration"]
    if config.instance_count > 1:
        assert routing == {
            "Type": "CANARY",
            "WaitIntervalInSeconds": config.bake_minutes * 60,
            "CanarySize": {"Type": "INSTANCE_COUNT", "Value": config.canary_instances},
        }
    else:
        assert routing["Type"] == "ALL_AT_ONCE"
    # SageMaker requires that the limit for the whole update exceeds its waits
    waits = routing["WaitIntervalInSeconds"] + policy["TerminationWaitInSeconds"]
    assert 600 <= policy["MaximumExecutionTimeoutInSeconds"] > waits
    watched = {alarm["AlarmName"] for alarm in deployment["AutoRollbackConfiguration"]["Alarms"]}
    assert watched == {f"scones-{environment}-update-errors", f"scones-{environment}-update-latency"}


def test_sagemaker_accepts_the_canary_of_a_fleet_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in refuses canaries that SageMaker refuses: fractions of instances, and more than half of them."""
    monkeypatch.setattr(Deployment, "_states", lambda self: dict.fromkeys(self._alarms, "OK"))
    for count in range(1, 101):
        config = parse_environment("dev", {"endpoint": {"instance_count": count, "max_instance_count": 100}})
        for fleet in (count, 100):  # the fewest and the most instances under autoscaling
            deployment = deployment_config(config)
            assert deployment
            Deployment(deployment, instances=fleet)
        share = config.endpoint.canary_instances / count
        assert share >= 0.1 or config.endpoint.canary_instances == count // 2


def test_the_first_creation_finds_its_alarms_and_its_listener(model: Template, environment: str) -> None:
    """No cycle: the alarms refer to the endpoint by name only, and ignore a missing one."""
    (endpoint,) = [r for r in model.content["Resources"].values() if r["Type"] == "AWS::SageMaker::Endpoint"]
    alarms = {
        logical_id
        for logical_id, alarm in model.resources("AWS::CloudWatch::Alarm").items()
        if "-update-" in alarm["AlarmName"]
    }
    (rule,) = model.resources("AWS::Events::Rule")
    assert {*alarms, rule} <= set(endpoint["DependsOn"])
    assert len(alarms) == 2
    for logical_id in alarms:
        alarm = model.content["Resources"][logical_id]["Properties"]
        assert alarm["TreatMissingData"] == "notBreaching"
        assert {"Name": "EndpointName", "Value": f"scones-{environment}"} in alarm["Dimensions"]
        assert "AlarmActions" not in alarm  # SageMaker reacts to it, not an operator


def test_latency_is_compared_in_microseconds(model: Template, environment: str) -> None:
    alarm = model.named("AWS::CloudWatch::Alarm", "UpdateLatency")
    assert alarm["Threshold"] == load_environment(environment).endpoint.max_update_latency_ms * 1000
    assert alarm["ExtendedStatistic"] == "p99"


def test_every_change_of_the_endpoint_is_recorded(model: Template, environment: str) -> None:
    pattern = model.only("AWS::Events::Rule")["EventPattern"]
    assert pattern["source"] == ["aws.sagemaker"]
    assert pattern["detail-type"] == ["SageMaker Endpoint State Change"]
    assert pattern["detail"] == {"EndpointName": [f"scones-{environment}"]}


def test_only_an_update_keeps_the_instances_that_autoscaling_gave(model: Template, environment: str) -> None:
    endpoint = model.only("AWS::SageMaker::Endpoint")
    assert "ExcludeRetainedVariantProperties" not in endpoint
    if load_environment(environment).endpoint.max_instance_count is None:
        assert "RetainAllVariantProperties" not in endpoint
        return
    condition, for_update, for_creation = endpoint["RetainAllVariantProperties"]["Fn::If"]
    assert (for_update, for_creation) == (True, {"Ref": "AWS::NoValue"})
    assert model.content["Conditions"][condition] == {"Fn::Equals": [{"Ref": ENDPOINT_EXISTS}, "true"]}
    assert model.content["Parameters"][ENDPOINT_EXISTS]["Default"] == "false"


def test_an_endpoint_config_is_replaced_when_only_the_settings_of_updates_change(model: Template) -> None:
    """SageMaker refuses to update an endpoint with the config that it has."""
    (variant,) = model.only("AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    retained = model.only("AWS::SageMaker::Endpoint").get("RetainAllVariantProperties")
    if retained is None:
        assert isinstance(variant["InitialVariantWeight"], int)
        return
    condition, for_update, for_creation = variant["InitialVariantWeight"]["Fn::If"]
    assert condition == retained["Fn::If"][0]
    assert for_update != for_creation


def test_each_setting_of_updates_has_its_own_weight() -> None:
    settings: list[dict[str, Any]] = [{}, {"bake_minutes": 6}, {"instance_count": 2}]
    deployments = [deployment_config(parse_environment("dev", {"endpoint": endpoint})) for endpoint in settings]
    weights = [update_weight(deployment, retains=retains) for deployment in deployments for retains in (False, True)]
    assert len(set(weights)) == len(weights) == 6
    assert update_weight(None, retains=False) == 1, "a serverless endpoint has no such settings"


@pytest.mark.parametrize("paused", ["false", "true"])
def test_a_pause_leaves_out_the_endpoint_and_its_scaling_and_nothing_else(variants: Path, paused: str) -> None:
    template = template_of(variants, LONGEST_NAME, "Model").content
    conditions = engine._evaluate_conditions(
        template, {name: {"Value": paused if name == ENDPOINT_PAUSED else ""} for name in template["Parameters"]}
    )
    left_out = {
        resource["Type"]
        for resource in template["Resources"].values()
        if "Condition" in resource and not conditions[resource["Condition"]]
    }
    scaling = {f"AWS::ApplicationAutoScaling::{kind}" for kind in ("ScalableTarget", "ScalingPolicy")}
    assert left_out == ({"AWS::SageMaker::Endpoint", *scaling} if paused == "true" else set())
    assert template["Parameters"][ENDPOINT_PAUSED]["Default"] == "false"


def test_the_endpoint_has_the_hours_of_its_configuration(variants: Path) -> None:
    template = template_of(variants, LONGEST_BOUNDED_NAME, "Model")
    machine = template.only("AWS::StepFunctions::StateMachine")
    assert machine["StateMachineName"] == f"scones-{LONGEST_BOUNDED_NAME}-pause"
    schedules = {
        json.loads(schedule["Target"]["Input"])["action"]: schedule
        for schedule in template.resources("AWS::Scheduler::Schedule").values()
    }
    expressions = {action: schedule["ScheduleExpression"] for action, schedule in schedules.items()}
    assert expressions == {
        "resume": "cron(0 22 ? * MON,TUE,WED,THU,FRI *)",
        "pause": "cron(0 6 ? * TUE,WED,THU,FRI,SAT *)",
    }
    for schedule in schedules.values():
        assert schedule["ScheduleExpressionTimezone"] == "Europe/Berlin"
        assert "EndpointPause" in text(schedule["Target"]["Arn"])
        # A much later delivery could pause the endpoint within the next hours of operation
        assert schedule["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 3600
        assert schedule["Target"]["DeadLetterConfig"]


REFUSED = "CloudFormation.CloudFormationException"


@pytest.mark.parametrize(
    ("error", "may_succeed_later"),
    [
        ({"Error": REFUSED, "Cause": "Stack:a/b is in UPDATE_IN_PROGRESS state and can not be updated."}, True),
        ({"Error": REFUSED, "Cause": "No updates are to be performed. (Service: CloudFormation, ...)"}, True),
        ({"Error": REFUSED, "Cause": "Rate exceeded (Service: CloudFormation, Status Code: 400, Request ID: 1)"}, True),
        ({"Error": REFUSED, "Cause": "null (Service: CloudFormation, Status Code: 503, Request ID: 1)"}, True),
        ({"Error": "CloudFormation.SdkClientException", "Cause": "Unable to execute HTTP request"}, True),
        ({"Error": "States.Timeout"}, True),
        ({"Error": REFUSED, "Cause": "User: a is not authorized to perform: iam:PassRole"}, False),
        ({"Error": "CloudFormation.InsufficientCapabilitiesException"}, False),
    ],
    ids=lambda value: value.get("Cause", value["Error"]) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("state", ["DescribeStack", "UpdateStack"])
def test_a_pause_waits_for_what_may_succeed_later_and_reports_what_may_not(
    model: Template, state: str, error: dict[str, str], may_succeed_later: bool
) -> None:
    """Another pause or deployment updates the stack, or has done it; CloudFormation throttles, or does not respond."""
    states = definition_of(model.only("AWS::StepFunctions::StateMachine"))["States"]
    (failed,) = states[state]["Catch"]
    caught = stepfunctions._apply_jsonata_template(failed["Output"], {"action": "pause"}, {}, error_output=error)
    _, next_state = stepfunctions._execute_choice(states[failed["Next"]], caught, {"QueryLanguage": "JSONata"})
    assert next_state == ("WaitForStack" if may_succeed_later else "NotifyFailed")
    assert states["WaitForStack"]["Next"] == "DescribeStack"


def test_without_hours_nothing_pauses_the_endpoint(model: Template) -> None:
    assert not model.resources("AWS::Scheduler::Schedule")


def test_a_pause_leaves_out_a_serverless_endpoint_too_so_that_the_kind_can_be_changed(variants: Path) -> None:
    template = template_of(variants, "serverless", "Model")
    (endpoint,) = (r for r in template.content["Resources"].values() if r["Type"] == "AWS::SageMaker::Endpoint")
    condition = template.content["Conditions"][endpoint["Condition"]]
    assert condition == {"Fn::Equals": [{"Ref": ENDPOINT_PAUSED}, "false"]}
    assert template.only("AWS::StepFunctions::StateMachine")["StateMachineName"] == "scones-serverless-pause"


def test_waiting_images_are_classified_by_the_distributed_map(
    bulk: Template, model: Template, environment: str
) -> None:
    machines = bulk.resources("AWS::StepFunctions::StateMachine").values()
    assert f"scones-{environment}-DistributedMap" in {machine["StateMachineName"] for machine in machines}
    substitutions = model.only("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    assert text(substitutions["DistributedMapArn"]).endswith(f":stateMachine:scones-{environment}-DistributedMap")
    assert text(substitutions["RetrainingArn"]).endswith(f":stateMachine:scones-{environment}-retraining")
