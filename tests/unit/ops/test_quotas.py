"""The checks of `python -m ops doctor` whether an account's quotas suffice for an environment."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from data_prep import aws
from data_prep.artifact import Artifact
from ops import quotas, templates
from ops.check import Check
from stacks.config import EnvironmentConfig, parse_environment

CONFIG = parse_environment("dev", {"endpoint": {"instance_count": 2}})
ENOUGH = {
    "ml.m5.large for endpoint usage": 4,
    "ml.m5.large for transform job usage": 2,
    "ml.p3.2xlarge for training job usage": 1,
    "ml.g4dn.xlarge for training job usage": 0,
    "ml.g5.xlarge for training job usage": 0,
}


class ServiceQuotas:
    """Lists quotas that the account applied for, and those that every account has."""

    def __init__(self, applied: Mapping[str, float], defaults: Mapping[str, float]) -> None:
        self._answers = {"list_service_quotas": applied, "list_aws_default_service_quotas": defaults}

    def get_paginator(self, operation: str) -> Any:
        quotas = [{"QuotaName": name, "Value": value} for name, value in self._answers[operation].items()]
        # Each on a page of its own
        return SimpleNamespace(paginate=lambda ServiceCode: [{"Quotas": [quota]} for quota in quotas])  # noqa: N803, ARG005


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> list[Artifact | None]:
    """The model that is there: none yet."""
    found: list[Artifact | None] = [None]
    monkeypatch.setattr(quotas, "current_artifact", lambda _: found[0])
    return found


def checks(
    monkeypatch: pytest.MonkeyPatch,
    applied: Mapping[str, float],
    defaults: Mapping[str, float] | None = None,
    config: EnvironmentConfig = CONFIG,
) -> dict[str, Check]:
    """The checks by name, in an account that has enough but for `applied`."""
    client = ServiceQuotas({**ENOUGH, **applied} if defaults is None else applied, defaults or {})
    monkeypatch.setattr(aws, "service_quotas", lambda: client)
    return {check.name: check for check in quotas.instances(config)}


def test_enough_quota_is_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {check.status for check in checks(monkeypatch, {}).values()} == {"ok"}


def test_an_endpoint_of_one_fleet_but_not_of_two_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ml.m5.large for endpoint usage"
    assert checks(monkeypatch, {name: 3})[name].status == "warning"
    assert checks(monkeypatch, {name: 1})[name].status == "failed"


def test_no_instance_for_transform_jobs_is_a_warning_as_everything_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ml.m5.large for transform job usage"
    check = checks(monkeypatch, {name: 0})[name]
    assert check.status == "warning"
    assert check.found == "0 of the 1 that is needed for a baseline, Batch Transform and retraining"


def test_a_quota_without_a_requested_increase_has_the_default_value(monkeypatch: pytest.MonkeyPatch) -> None:
    applied = {"ml.m5.large for endpoint usage": 8.0}
    defaults = {**ENOUGH, "ml.m5.large for endpoint usage": 0}
    found = checks(monkeypatch, applied, defaults)
    assert found["ml.m5.large for endpoint usage"] == Check("ml.m5.large for endpoint usage", "ok", "8")
    assert {check.status for check in found.values()} == {"ok"}


def test_doctor_reports_the_instance_type_of_a_training_job(monkeypatch: pytest.MonkeyPatch) -> None:
    applied = {"ml.p3.2xlarge for training job usage": 0, "ml.g5.xlarge for training job usage": 2}
    check = checks(monkeypatch, applied)["training instances"]
    assert check.status == "ok"
    assert check.found == "ml.p3.2xlarge 0, ml.g4dn.xlarge 0, ml.g5.xlarge 2; a job runs on ml.g5.xlarge"


def test_no_instance_to_train_on_is_fatal_only_until_a_model_is_there(
    monkeypatch: pytest.MonkeyPatch, model: list[Artifact | None]
) -> None:
    applied = {"ml.p3.2xlarge for training job usage": 0}
    assert checks(monkeypatch, applied)["training instances"].status == "failed"
    model[0] = Artifact("s3://models/model.tar.gz", "job-1")
    check = checks(monkeypatch, applied)["training instances"]
    assert check.status == "warning"
    assert 'ask for "ml.p3.2xlarge for training job usage"' in check.fix


GPUS = ("ml.p3.2xlarge", "ml.g4dn.xlarge", "ml.g5.xlarge")


def test_an_account_without_a_gpu_quota_is_referred_to_the_algorithm_that_needs_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    none = {f"{name} for training job usage": 0 for name in GPUS}
    check = checks(monkeypatch, none)["training instances"]
    assert check.status == "failed"
    assert check.found == ("the account has no GPU to train on (ml.p3.2xlarge 0, ml.g4dn.xlarge 0, ml.g5.xlarge 0)")
    assert check.fix.startswith('set training.algorithm: "scikit-learn" in cdk.json, which needs no GPU; or ask for ')


def test_that_algorithm_needs_the_quota_of_its_own_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse_environment("dev", {"training": {"algorithm": "scikit-learn"}})
    quota = "ml.m5.large for training job usage"
    none = {f"{name} for training job usage": 0 for name in GPUS}
    check = checks(monkeypatch, {**none, quota: 1}, config=config)["training instances"]
    assert (check.status, check.found) == ("ok", "ml.m5.large 1; a job runs on ml.m5.large")
    check = checks(monkeypatch, {**none, quota: 0}, config=config)["training instances"]
    assert check.status == "failed"
    assert f'ask for "{quota}"' in check.fix
    assert "scikit-learn" not in check.fix


def test_a_model_that_has_to_be_trained_again_needs_an_instance(
    monkeypatch: pytest.MonkeyPatch, model: list[Artifact | None]
) -> None:
    model[0] = Artifact("s3://models/model.tar.gz", "job-1", "it was trained for bus, tractor")
    assert checks(monkeypatch, {"ml.p3.2xlarge for training job usage": 0})["training instances"].status == "failed"


@pytest.mark.parametrize(
    ("values", "name", "needed"),
    [
        ({"endpoint": {"max_instance_count": 3}}, "ml.m5.large for endpoint usage", 3),
        ({"bulk": {"transform_instance_count": 4}}, "ml.m5.large for transform job usage", 4),
        ({"bulk": {"transform_instance_type": "ml.c5.xlarge"}}, "ml.c5.xlarge for transform job usage", 1),
    ],
)
def test_scaling_and_bulk_runs_need_their_instances(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], name: str, needed: int
) -> None:
    config = parse_environment("dev", values)
    assert checks(monkeypatch, {name: needed - 1}, config=config)[name].found.startswith(
        f"{needed - 1} of the {needed}"
    )


def test_spot_jobs_have_quotas_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse_environment("dev", {"training": {"spot": True}})
    applied = {"ml.g4dn.xlarge for spot training job usage": 1}
    assert checks(monkeypatch, applied, config=config)["training instances"].found.endswith(
        "a job runs on ml.g4dn.xlarge"
    )


SERVERLESS = "Maximum total concurrency that can be allocated across all serverless endpoints"


@pytest.mark.parametrize(("quota", "status"), [(9, "failed"), (10, "ok")])
def test_a_serverless_endpoint_needs_its_concurrency_and_no_instances(
    monkeypatch: pytest.MonkeyPatch, quota: int, status: str
) -> None:
    config = parse_environment("dev", {"endpoint": {"kind": "serverless", "serverless_max_concurrency": 10}})
    found = checks(monkeypatch, {SERVERLESS: quota}, config=config)
    assert {name: check.status for name, check in found.items() if "endpoint" in name} == {SERVERLESS: status}
    assert "a lower endpoint.serverless_max_concurrency" in found[SERVERLESS].fix or status == "ok"


@pytest.mark.parametrize(("memory_mb", "is_warned"), [(3072, False), (4096, True)])
def test_more_memory_than_a_new_account_may_have_is_a_warning_as_service_quotas_does_not_list_it(
    monkeypatch: pytest.MonkeyPatch, memory_mb: int, is_warned: bool
) -> None:
    config = parse_environment("dev", {"endpoint": {"kind": "serverless", "serverless_memory_mb": memory_mb}})
    warnings = {c.name for c in checks(monkeypatch, {SERVERLESS: 20}, config=config).values() if c.status == "warning"}
    assert warnings == ({"serverless memory"} if is_warned else set())


def concurrency(
    monkeypatch: pytest.MonkeyPatch, *, quota: int, unreserved: int, reserves: int | None, deployed: int = 0
) -> Check:
    """In an account with this quota; `reserves`: of each function; `deployed`: what the stacks reserve already."""
    limits = {"ConcurrentExecutions": quota, "UnreservedConcurrentExecutions": unreserved}
    client = SimpleNamespace(get_account_settings=lambda: {"AccountLimit": limits})
    monkeypatch.setattr(aws, "lambda_", lambda: client)
    function = {"Type": "AWS::Lambda::Function", "Properties": {"ReservedConcurrentExecutions": deployed}}
    stacks = {"Workflow": {"Resources": {"F": function, "Role": {"Type": "AWS::IAM::Role"}}}} if deployed else {}
    monkeypatch.setattr(quotas, "stack_outputs", lambda _: {name: {} for name in stacks})
    monkeypatch.setattr(templates, "deployed", lambda names: {name: stacks[name] for name in names})
    (check,) = quotas.concurrency(parse_environment("dev", {"function_concurrency": reserves}))
    return check


@pytest.mark.parametrize(
    ("account", "status"),
    [
        ({"quota": 1000, "unreserved": 1000, "reserves": 100}, "ok"),
        # Another environment reserves 500
        ({"quota": 1000, "unreserved": 500, "reserves": 100}, "failed"),
        # It is this one, deployed already
        ({"quota": 1000, "unreserved": 500, "reserves": 100, "deployed": 500}, "ok"),
        ({"quota": 10, "unreserved": 10, "reserves": 1}, "failed"),
        # Nothing is reserved, but one execution takes all that a new account has
        ({"quota": 10, "unreserved": 10, "reserves": None}, "warning"),
        ({"quota": 50, "unreserved": 50, "reserves": None}, "ok"),
    ],
)
def test_lambda_must_keep_its_share_of_the_accounts_concurrency(
    monkeypatch: pytest.MonkeyPatch, account: dict[str, Any], status: str
) -> None:
    assert concurrency(monkeypatch, **account).status == status


def test_too_much_reserved_concurrency_is_reported_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    check = concurrency(monkeypatch, quota=1000, unreserved=500, reserves=100)
    assert check.found == (
        "0 of the account's 1000 stay unreserved when this environment reserves 500; Lambda keeps 100"
    )
    assert "function_concurrency" in check.fix
