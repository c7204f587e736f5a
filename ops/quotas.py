"""Checks the account's quotas against an environment's configuration."""

from collections.abc import Iterable, Iterator

from data_prep import aws
from data_prep.artifact import current_artifact
from ops import templates
from ops.check import Check
from ops.outputs import stack_outputs
from stacks.config import EndpointConfig, EnvironmentConfig
from stacks.shared.algorithm import WITHOUT_GPU

# Lambda keeps this much of an account's concurrency unreserved, and of a smaller quota all
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
MIN_UNRESERVED = 100

_SERVERLESS_CONCURRENCY = "Maximum total concurrency that can be allocated across all serverless endpoints"
# From error messages in new accounts; Service Quotas does not list it
_NEW_ACCOUNTS_MEMORY_MB = 3072


def instances(config: EnvironmentConfig) -> Iterator[Check]:
    """SageMaker's quotas for the configured instances. New accounts start with 0 of many."""
    endpoint, transform, training = _endpoint_needs(config), _transform_needs(config), _training_quotas(config)
    values = quota_values([*endpoint, *transform, *training])
    for name, (needed, needed_to_update) in endpoint.items():
        yield _instance_check(name, values[name], needed, needed_to_update, is_vital=True)
    for name, (needed, needed_to_update) in transform.items():
        yield _instance_check(name, values[name], needed, needed_to_update, is_vital=False)
    yield from _memory_check(config.endpoint)
    yield _training_check(config, {name: values[name] for name in training})


def quota_values(names: Iterable[str]) -> dict[str, float]:
    """SageMaker's quotas by name: the account's value or the default value; 0 if there is neither.

    ListServiceQuotas omits quotas for which nobody has requested an increase.
    """
    missing, values = set(names), dict.fromkeys(names, 0.0)
    for operation in ("list_service_quotas", "list_aws_default_service_quotas"):
        if missing:
            pages = aws.service_quotas().get_paginator(operation).paginate(ServiceCode="sagemaker")
            found = {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}
            values.update({name: found[name] for name in missing & found.keys()})
            missing -= found.keys()
    return values


def _endpoint_needs(config: EnvironmentConfig) -> dict[str, tuple[int, int]]:
    """Instances by the name of their quota: in steady state, and during an update (old and new fleet).

    A serverless endpoint has concurrent requests instead.
    """
    endpoint = config.endpoint
    if endpoint.kind == "serverless":
        return {_SERVERLESS_CONCURRENCY: (endpoint.serverless_max_concurrency, endpoint.serverless_max_concurrency)}
    count = max(endpoint.instance_count, endpoint.max_instance_count or 0)
    return {f"{endpoint.instance_type} for endpoint usage": (count, 2 * count)}


def _transform_needs(config: EnvironmentConfig) -> dict[str, tuple[int, int]]:
    """Instances of a bulk run or the baseline; retraining evaluates candidate and model in service concurrently."""
    count = config.bulk.transform_instance_count
    return {f"{config.bulk.transform_instance_type} for transform job usage": (count, max(count, 2))}


def _training_quotas(config: EnvironmentConfig) -> dict[str, str]:
    """Instance types by the name of their quota, in order of preference."""
    kind = "spot training job" if config.training.spot else "training job"
    return {f"{name} for {kind} usage": name for name in config.training.instance_types}


def _instance_check(name: str, value: float, needed: int, needed_to_update: int, *, is_vital: bool) -> Check:
    setting = (
        "a lower endpoint.serverless_max_concurrency" if name == _SERVERLESS_CONCURRENCY else "another instance type"
    )
    fix = f'ask for "{name}" under Service Quotas, Amazon SageMaker, or set {setting} in cdk.json'
    if value < needed:
        found = f"{value:g} of the {needed} that {'is' if needed == 1 else 'are'} needed"
        if is_vital:
            return Check(name, "failed", found, fix)
        return Check(name, "warning", f"{found} for a baseline, Batch Transform and retraining", fix)
    if value < needed_to_update:
        return Check(name, "warning", f"{value:g}; an update or retraining runs {needed_to_update} for a while", fix)
    return Check(name, "ok", f"{value:g}")


def _memory_check(endpoint: EndpointConfig) -> Iterator[Check]:
    if endpoint.kind == "serverless" and endpoint.serverless_memory_mb > _NEW_ACCOUNTS_MEMORY_MB:
        yield Check(
            "serverless memory",
            "warning",
            f"a new account's limit is {_NEW_ACCOUNTS_MEMORY_MB} MB, of the {endpoint.serverless_memory_mb} that are "
            "configured; Service Quotas does not show it",
            f"set endpoint.serverless_memory_mb to at most {_NEW_ACCOUNTS_MEMORY_MB} in cdk.json, or ask AWS Support "
            'for "Memory size in MB per serverless endpoint"',
        )


def _training_check(config: EnvironmentConfig, values: dict[str, float]) -> Check:
    """A job uses the first type for which the account has a quota."""
    name = "training instances"
    types = _training_quotas(config)
    found = ", ".join(f"{types[quota]} {value:g}" for quota, value in values.items())
    available = [types[quota] for quota, value in values.items() if value >= 1]
    if available:
        return Check(name, "ok", f"{found}; a job runs on {available[0]}")
    model = current_artifact(config)
    is_trained = model is not None and not model.mismatch
    ask = f'ask for "{next(iter(types))}" under Service Quotas, Amazon SageMaker'
    if config.algorithm.needs_gpu:
        found, fix = f"the account has no GPU to train on ({found})", f"{WITHOUT_GPU}; or {ask}"
    else:
        fix = f"{ask}, or add another type to training.instance_types in cdk.json"
    return Check(name, "warning" if is_trained else "failed", found, fix)


def concurrency(config: EnvironmentConfig) -> Iterator[Check]:
    """Lambda's quota of concurrent executions, which all functions of the account and region share."""
    name = "Lambda concurrency"
    limits = aws.lambda_().get_account_settings()["AccountLimit"]
    quota, unreserved = limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"]
    wanted = config.reserved_concurrency
    left = unreserved - wanted + (_reserved_already(config) if wanted else 0)
    found = f"{left} of the account's {quota} stay unreserved"
    raise_quota = 'ask for "Concurrent executions" under Service Quotas, AWS Lambda'
    if wanted and left < min(MIN_UNRESERVED, quota):
        yield Check(
            name,
            "failed",
            f"{found} when this environment reserves {wanted}; Lambda keeps {min(MIN_UNRESERVED, quota)}",
            f"set a lower function_concurrency in cdk.json, or none, or {raise_quota}",
        )
    elif left <= config.map_concurrency:
        yield Check(
            name,
            "warning",
            f"{found}; one execution's map_concurrency of {config.map_concurrency} uses them all",
            f"{raise_quota}, or set a lower map_concurrency in cdk.json",
        )
    else:
        yield Check(name, "ok", found)


def _reserved_already(config: EnvironmentConfig) -> int:
    """The concurrency that the environment's deployed functions already reserve."""
    deployed = templates.deployed({stack: f"{config.stage_name}-{stack}" for stack in stack_outputs(config)})
    resources = [resource for template in deployed.values() for resource in template["Resources"].values()]
    return sum(resource.get("Properties", {}).get("ReservedConcurrentExecutions", 0) for resource in resources)
