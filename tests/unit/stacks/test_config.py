import json
from pathlib import Path
from typing import Any

import pytest

from stacks.config import (
    PROJECT_ROOT,
    ConfigError,
    EnvironmentConfig,
    load_environment,
    parse_environment,
    parse_environments,
)
from stacks.shared.algorithm import ALGORITHMS
from stacks.shared.instance_types import check_instance_type, instance_types


def test_defaults_are_the_original_workflow() -> None:
    config = parse_environment("dev", {})
    assert config.classes == ("bicycle", "motorcycle")
    assert config.confidence_threshold == 0.90
    assert config.training.instance_types[0] == "ml.p3.2xlarge"
    assert config.schedule is None


def test_an_algorithm_brings_its_instance_types() -> None:
    training = {"algorithm": "scikit-learn"}
    assert parse_environment("dev", {"training": training}).training.instance_types == ("ml.m5.large",)
    chosen = parse_environment("dev", {"training": {**training, "instance_types": ["ml.c5.xlarge"]}})
    assert chosen.training.instance_types == ("ml.c5.xlarge",)


def test_the_default_instance_types_exist() -> None:
    """A default is not checked when it is used."""
    config = parse_environment("dev", {})
    check_instance_type(config.endpoint.instance_type, "ProductionVariantInstanceType")
    check_instance_type(config.bulk.transform_instance_type, "TransformInstanceType")
    for algorithm in ALGORITHMS.values():
        for name in algorithm.instance_types:
            check_instance_type(name, "TrainingInstanceType")
            algorithm.check_training_instance(name)


def test_a_configuration_of_the_default_instance_types_is_read_without_the_model_of_the_api() -> None:
    instance_types.cache_clear()
    load_environment("prod")
    assert instance_types.cache_info().currsize == 0


def test_names_carry_the_environment() -> None:
    config = parse_environment("alice-dev", {})
    assert config.stage_name == config.endpoint_name == "scones-alice-dev"
    assert config.artifact_parameter == "/scones/alice-dev/model/artifact-uri"


@pytest.mark.parametrize("name", ["owner/name", "Some-Owner/name_1.x", "owner@1234/name@5678"])
def test_a_repository_has_ids_or_not(name: str) -> None:
    settings = {"github_repository": name, "bootstrap_qualifier": "dev"}
    assert parse_environment("dev", settings).github_repository == name


def test_an_environment_that_github_deploys_has_its_own_bootstrap() -> None:
    with pytest.raises(ConfigError, match="bootstrap_qualifier = None: is required with github_repository"):
        parse_environment("dev", {"github_repository": "owner/name"})
    with pytest.raises(ConfigError, match="bootstrap_qualifier = 'q': requires an environment's name of at most 16"):
        parse_environment("a" * 17, {"bootstrap_qualifier": "q"})
    with pytest.raises(ConfigError, match="'a' and 'b': bootstrap_qualifier = 'q' for both"):
        parse_environments({"a": {"bootstrap_qualifier": "q"}, "b": {"bootstrap_qualifier": "q"}})
    assert parse_environment("dev", {}).qualifier == "hnb659fds"


@pytest.mark.parametrize(
    "source", ["s3://sagemaker-us-east-1-111122223333/data/test/", "s3://pictures/", "train/", "a b"]
)
def test_images_may_come_from_elsewhere(source: str) -> None:
    assert parse_environment("dev", {"image_sources": [source]}).image_sources == (source,)


@pytest.mark.parametrize(
    "source", ["", "/", "s3://pictures", "s3://Pictures/", "s3://a/", "*", "data/?.png", "${x}", "https://a/"]
)
def test_an_image_source_is_a_prefix_without_wildcards(source: str) -> None:
    with pytest.raises(ConfigError, match=r"image_sources\.0 = "):
        parse_environment("dev", {"image_sources": [source]})


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_environment("dev", {}).confidence_threshold = 0.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"colour": "red"},
            "unknown key 'colour' = 'red'; allowed are access_logging, alert_email, bootstrap_qualifier, ",
        ),
        ({"endpoint": {"size": 1}}, "unknown key 'endpoint.size' = 1; allowed are bake_minutes"),
        ({"training": {"gpu": 1}}, "unknown key 'training.gpu' = 1; allowed are "),
        ({"training": {"instance_types": []}}, "training.instance_types = (): should have at least 1 item"),
        (
            {"training": {"instance_types": ["ml.m5.large"]}},
            "training.instance_types = ['ml.m5.large']: image-classification trains on GPUs only, of the families P2, "
            "P3, G4dn and G5, not on ml.m5.large: choose one of those, or another training.algorithm",
        ),
        (
            {"training": {"algorithm": "scikit-learn", "instance_types": ["ml.c5.xlarge", "ml.g5.xlarge"]}},
            "scikit-learn trains on CPUs, of the families C, M, R and T, not on ml.g5.xlarge",
        ),
        (
            {"training": {"algorithm": "sklearn"}},
            "training.algorithm = 'sklearn': should be 'image-classification' or 'scikit-learn'",
        ),
        ({"training": {"instance_types": ["ml.g5.xlarge"] * 2}}, "must name each once"),
        ({"confidence_threshold": "0.9"}, "confidence_threshold = '0.9': should be a valid number"),
        ({"confidence_threshold": 90}, "confidence_threshold = 90: should be less than or equal to 1"),
        ({"confidence_threshold": 0}, "confidence_threshold = 0: should be greater than 0"),
        ({"confidence_threshold": float("nan")}, "confidence_threshold = nan"),
        ({"classes": "bicycle"}, "classes = 'bicycle': should be a valid"),
        ({"classes": ["bicycle"]}, "classes = ('bicycle',): should have at least 2 items"),
        ({"classes": ["bicycle", "bicycle"]}, "classes = ['bicycle', 'bicycle']: must name each once"),
        ({"classes": ["bicycle", 7]}, "classes.1 = 7: should be a valid string"),
        (
            {"classes": ["bicycle", "Motor Cycle"]},
            "classes.1 = 'Motor Cycle': CIFAR-100 has no such class; the nearest are motorcycle,",
        ),
        ({"classes": ["bycicle", "motorcycle"]}, "CIFAR-100 has no such class; the nearest are bicycle,"),
        ({"bulk": {"concurrency": 0}}, "bulk.concurrency = 0: should be greater than or equal to 1"),
        (
            {"bulk": {"concurrency": 11}},
            "bulk = {'concurrency': 11}: concurrency must be at most 10, which is the endpoint's instances",
        ),
        (
            {"endpoint": {"kind": "serverless"}, "bulk": {"concurrency": 11}},
            "concurrency must be at most 10, which is endpoint.serverless_max_concurrency",
        ),
        (
            {"endpoint": {"instance_type": "ml.t2.medium", "max_instance_count": 2}},
            "endpoint.max_instance_count = 2: SageMaker does not scale burstable instances, such as ml.t2.medium",
        ),
        (
            {"endpoint": {"hours": "mon-fri 8-18 Europe/Berlin"}},
            "endpoint.hours = 'mon-fri 8-18 Europe/Berlin': '8' is not a time",
        ),
        (
            {"endpoint": {"kind": "serverless", "hours": "mon-fri 08:00-18:00 UTC"}},
            "endpoint.hours = 'mon-fri 08:00-18:00 UTC': a serverless endpoint costs nothing while idle",
        ),
        (
            {"endpoint": {"instance_count": 9}, "function_concurrency": 50, "bulk": {"concurrency": 51}},
            "concurrency must be at most 50, which is function_concurrency",
        ),
        (
            {"function_concurrency": 181},
            "function_concurrency = 181: reserves 905 (5 functions x 181), but Lambda keeps 100 of an account's 1000 "
            "unreserved: set at most 180, or less if other environments of the account reserve concurrency too",
        ),
        ({"map_concurrency": True}, "map_concurrency = True: should be a valid integer"),
        ({"map_concurrency": 0}, "map_concurrency = 0: should be greater than or equal to 1"),
        ({"map_concurrency": 41}, "map_concurrency = 41: should be less than or equal to 40"),
        ({"endpoint": {"capture_percentage": 0}}, "endpoint.capture_percentage = 0"),
        ({"endpoint": {"instance_type": "m5.large"}}, "endpoint.instance_type = 'm5.large': should match pattern"),
        ({"endpoint": {"kind": "batch"}}, "endpoint.kind = 'batch': should be 'realtime' or 'serverless'"),
        ({"monitoring": {"idle_hours": 169}}, "monitoring.idle_hours = 169: should be less than or equal to 168"),
        ({"monitoring": {"idle_hours": 0}}, "monitoring.idle_hours = 0: should be greater than or equal to 1"),
        ({"monitoring": {"monthly_budget_usd": 0}}, "monitoring.monthly_budget_usd = 0: should be greater than 0"),
        (
            {"permissions_boundary": "own", "bootstrap_qualifier": "own"},
            "permissions_boundary = 'own': with bootstrap_qualifier the boundary is scones-dev-boundary, and a role "
            "has only one: remove this key",
        ),
        ({"permissions_boundary": "arn:aws:iam::1:policy/p"}, "permissions_boundary = 'arn:aws:iam::1:policy/p': "),
        ({"permissions_boundary": "${Name}"}, "permissions_boundary = '${Name}': should match pattern"),
        (
            {"endpoint": {"instance_type": "ml.m5.lagre"}},
            "endpoint.instance_type = 'ml.m5.lagre': SageMaker has no such instance type for endpoints; the nearest "
            "are ml.m5.large",
        ),
        (
            {"bulk": {"transform_instance_type": "ml.m6g.large"}},
            "bulk.transform_instance_type = 'ml.m6g.large': SageMaker has no such instance type for transform jobs",
        ),
        (
            {"training": {"instance_types": ["ml.p3.2xlarge", "ml.g5.large"]}},
            "training.instance_types.1 = 'ml.g5.large': SageMaker has no such instance type for training jobs",
        ),
        ({"endpoint": "large"}, "endpoint = 'large'"),
        ({"alert_email": "nobody"}, "alert_email = 'nobody': should match pattern"),
        *(
            ({"github_repository": name}, f"github_repository = {name!r}: must be OWNER/NAME, or OWNER@ID/NAME@ID for")
            for name in ("name", "owner/", "owner@1/name", "owner/name@2", "owner@x/name@2", "a/b/c", "a b/c", "a/b\n")
        ),
        ({"log_retention_days": 10}, "log_retention_days = 10: should be 1, 3, 5, 7, 14"),
        ({"removal_policy": "snapshot"}, "removal_policy = 'snapshot': should be 'retain' or 'destroy'"),
        (
            {"schedule": {"expression": "daily"}},
            "schedule.expression = 'daily': must be rate(NUMBER minutes, hours or days) or cron(FIELDS)",
        ),
        (
            {"retraining": {"schedule": "cron(0 6 * * *)"}},
            "retraining.schedule = 'cron(0 6 * * *)': has 5 fields in cron()",
        ),
        ({"schedule": {"expression": "rate(1 day)", "x": 1}}, "unknown key 'schedule.x' = 1"),
        ({"schedule": {}}, "schedule.expression is missing"),
        ({"schedule": {"expression": "rate(1 day)", "workflow": "x"}}, "schedule.workflow = 'x': should be 'inline', "),
        (
            {"schedule": {"expression": "rate(1 day)", "prefix": "scheduled/a", "workflow": "batch-transform"}},
            "schedule.workflow = 'batch-transform': needs a schedule.prefix that ends with a slash",
        ),
        ({"name": "other"}, "'name' is the key of the environment"),
        ([], "must be an object of settings, not []"),
        (None, "must be an object of settings, not None"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(values: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_environment("dev", values)
    text = str(caught.value)
    assert text.startswith("environment 'dev': ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize("name", ["Dev", "1dev", "", "a" * 21, "dev/x", "dév", "dev-", "a--", "dev\n"])
def test_a_bad_environment_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        parse_environment(name, {})


@pytest.mark.parametrize("context", [None, {}, [], "dev"])
def test_there_must_be_an_environment(context: Any) -> None:
    with pytest.raises(ConfigError, match="at least one environment"):
        parse_environments(context)


def test_the_projects_own_environments_load() -> None:
    assert load_environment("dev").removal_policy == "destroy"
    assert load_environment("prod").removal_policy == "retain"
    context = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]["environments"]
    assert parse_environments(context) == (load_environment("dev"), load_environment("prod"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("", "Expecting value"),
        ("{}", "'context'"),
        ('{"context": {"environments": {}}}', "environment 'dev' is not in cdk.json; it has none"),
        ('{"context": {"environments": {"a": {}, "b": {}}}}', "it has a, b"),
        ('{"context": {"environments": {"dev": {"x": 1}}}}', "unknown key 'x'"),
    ],
)
def test_an_unreadable_cdk_json_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "cdk.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_environment("dev", path)
    assert "cdk.json" in str(caught.value) or "environment 'dev'" in str(caught.value)


def test_every_setting_is_reachable_from_json() -> None:
    everything = {
        "classes": ["bus", "streetcar", "pickup_truck"],
        "confidence_threshold": 0.8,
        "endpoint": {"instance_type": "ml.c7i.xlarge", "instance_count": 3, "capture_percentage": 20},
        "map_concurrency": 40,
        "alert_email": "ops@example.com",
        "log_retention_days": 90,
        "removal_policy": "destroy",
        "schedule": {"expression": "rate(1 day)", "prefix": "scheduled/nightly/"},
    }
    config = parse_environment("dev", json.loads(json.dumps(everything)))
    assert set(everything) <= set(EnvironmentConfig.model_fields)
    assert config.endpoint.instance_count == 3
    assert config.schedule is not None
    assert config.schedule.prefix == "scheduled/nightly/"


@pytest.mark.parametrize(
    ("values", "concurrency", "of_a_batch", "batch_size"),
    [
        ({}, 10, 5, 100),
        ({"endpoint": {"instance_count": 3, "max_instance_count": 6}}, 30, 5, 100),
        ({"endpoint": {"instance_count": 3, "max_instance_count": 6}, "bulk": {"concurrency": 60}}, 60, 5, 100),
        ({"endpoint": {"instance_count": 3}, "function_concurrency": 20}, 20, 5, 100),
        ({"endpoint": {"kind": "serverless", "serverless_max_concurrency": 4}}, 4, 4, 88),
        ({"endpoint": {"requests_per_instance": 2}}, 2, 2, 64),
        ({"bulk": {"concurrency": 1}}, 1, 1, 32),
    ],
)
def test_a_bulk_run_takes_what_the_endpoint_can_take_and_batches_that_end_in_time(
    values: Any, concurrency: int, of_a_batch: int, batch_size: int
) -> None:
    config = parse_environment("dev", values)
    assert (config.bulk_concurrency, config.bulk_images_at_once) == (concurrency, of_a_batch)
    assert config.bulk_batch_size == batch_size


def test_no_environment_s_name_begins_with_another_s(tmp_path: Path) -> None:
    """The roles of `dev` may use `scones-dev-*`, which would be `dev-prod`'s as well."""
    with pytest.raises(ConfigError, match=r"environments 'dev' and 'dev-prod': .* rename one of them"):
        parse_environments({"dev-prod": {}, "dev": {}})
    cdk_json = tmp_path / "cdk.json"
    cdk_json.write_text(json.dumps({"context": {"environments": {"dev": {}, "dev-prod": {}}}}))
    with pytest.raises(ConfigError, match="rename one of them"):
        load_environment("dev", cdk_json)
    assert len(parse_environments({"dev": {}, "devprod": {}, "prod-dev": {}})) == 3


def test_one_environment_may_be_chosen() -> None:
    assert parse_environments({"first": {}, "second": {}}, only="second") == (parse_environment("second", {}),)


@pytest.mark.parametrize(
    ("environments", "message"),
    [
        ({"first": {}}, "context only=second: cdk.json has no such environment; it has first"),
        (
            {"first": {"confidence_threshold": 90}, "second": {}},
            "environment 'first': confidence_threshold = 90: should be less than or equal to 1",
        ),
    ],
)
def test_one_environment_alone_needs_a_configuration_without_mistakes(
    environments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_environments(environments, only="second")
    assert str(caught.value) == message
