"""Pause an environment's endpoint, which costs money by the hour, and resume it: `pause` and `resume`."""

import json
from typing import Any, Literal

import typer

from data_prep.options import EnvironmentName
from data_prep.target import current_target, make_command
from ops import aws
from ops.cost.quantities import HOURS_A_MONTH
from ops.errors import OpsError
from ops.outputs import stack_outputs
from ops.paused import describe_pause, paused_since
from ops.retraining import entered_states
from stacks.config import EnvironmentConfig, load_environment
from stacks.shared.prices import instance_hour, price_list

# The slow states of stacks/model/pause.asl.yaml
_SHOWN = {"UpdateStack": "CloudFormation updates the model stack", "WaitForStack": "", "ClassifyWaiting": ""}


def pause(env: EnvironmentName = "dev") -> None:
    """Remove the endpoint, and with it its cost; uploads wait. Everything else stays.

    You can interrupt and repeat it.
    """
    config = load_environment(env)
    outputs = _outputs(config)
    typer.echo(f"Pausing endpoint {config.endpoint_name} in {current_target()}")
    if undeployed := _undeployed_artifact(config):
        typer.echo(
            f"Note: {config.artifact_parameter} names {undeployed}, which the endpoint does not serve yet, but will "
            "when it is resumed"
        )
    _run(outputs["Model"]["EndpointPauseArn"], "pause")
    since = paused_since(outputs["Data"]["BucketName"])
    if since is None:
        raise OpsError(f"endpoint {config.endpoint_name} was resumed by somebody else meanwhile")
    typer.echo(f"{config.endpoint_name} is {describe_pause(since)}{_saving(config)}.")
    typer.echo(f"Uploads wait for `python -m ops resume --env {env}`, which classifies them.")
    if config.endpoint.hours:
        typer.echo(f"Its hours resume it, too: {config.endpoint.hours}")


def resume(env: EnvironmentName = "dev") -> None:
    """Bring the endpoint back with the model released last, and classify what was uploaded meanwhile.

    You can interrupt and repeat it.
    """
    config = load_environment(env)
    outputs = _outputs(config)
    typer.echo(f"Resuming endpoint {config.endpoint_name} in {current_target()}")
    output = _run(outputs["Model"]["EndpointPauseArn"], "resume")
    typer.echo(f"{config.endpoint_name} is in service.")
    if config.endpoint.hours:
        typer.echo(f"Its hours pause it again: {config.endpoint.hours}")
    classification = output.get("classification")
    if not classification:
        typer.echo("Nothing waited for it.")
        return
    typer.echo(f"Classifying what was uploaded since {output['pause']['paused_at']}: {classification}")
    for _ in entered_states(aws.stepfunctions(), classification):
        pass
    described = aws.stepfunctions().describe_execution(executionArn=classification)
    # A bulk run with rejected images fails
    if described["status"] != "SUCCEEDED" and described.get("error") != "InferencesRejected":
        raise OpsError(f"it ended as {described.get('error', described['status'])}: {described.get('cause', '')}")
    name = classification.rpartition(":")[2]
    manifest = json.load(
        aws.s3().get_object(Bucket=outputs["Data"]["BucketName"], Key=f"manifests/{name}.json")["Body"]
    )
    counts = {outcome: count for outcome, count in manifest["counts"].items() if count}
    typer.echo(f"{sum(counts.values()):,} images: {', '.join(f'{n:,} {o.lower()}' for o, n in counts.items())}")


def _outputs(config: EnvironmentConfig) -> dict[str, dict[str, str]]:
    """Outputs of the stacks; raises OpsError if there is nothing to pause."""
    outputs = stack_outputs(config)
    if "EndpointPauseArn" not in outputs.get("Model", {}):
        raise OpsError(
            f"{config.name}/Model is not deployed in {current_target()}, or by a version that cannot pause: deploy it "
            f"with `{make_command('deploy', config.name)}`"
        )
    return outputs


def _run(state_machine_arn: str, action: Literal["pause", "resume"]) -> dict[str, Any]:
    """The output of an execution, which continues if this process is interrupted; raises OpsError if it fails."""
    client = aws.stepfunctions()
    arn = client.start_execution(stateMachineArn=state_machine_arn, input=json.dumps({"action": action}))[
        "executionArn"
    ]
    typer.echo(arn)
    last = ""
    for state in entered_states(client, arn):
        if state != last and _SHOWN.get(state):
            typer.echo(f"  {_SHOWN[state]}")
        last = state
    described = client.describe_execution(executionArn=arn)
    if described["status"] != "SUCCEEDED":
        raise OpsError(f"{described.get('error', described['status'])}: {described.get('cause', 'no cause given')}")
    output: dict[str, Any] = json.loads(described["output"])
    return output


def _undeployed_artifact(config: EnvironmentConfig) -> str | None:
    """The artifact that the next deployment would serve, if the endpoint serves another one."""
    sagemaker, endpoint = aws.sagemaker(), aws.described_endpoint(config)
    if endpoint is None:
        return None
    variants = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])[
        "ProductionVariants"
    ]
    model = sagemaker.describe_model(ModelName=variants[0]["ModelName"])
    artifact = aws.ssm().get_parameter(Name=config.artifact_parameter)["Parameter"]["Value"]
    return None if model["PrimaryContainer"]["ModelDataUrl"] == artifact else artifact


def _saving(config: EnvironmentConfig) -> str:
    """What the instances cost in a month, for the end of a sentence; empty without any, or if the price is unknown."""
    price = instance_hour(config.endpoint.instance_type)
    if price is None or config.endpoint.kind == "serverless":
        return ""
    month = price * config.endpoint.instance_count * HOURS_A_MONTH
    return f", which saves {month:,.0f} USD a month ({price_list()['region']}'s list price)"
