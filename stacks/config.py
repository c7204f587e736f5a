"""The configuration of one environment, read from cdk.json, validated and frozen.

This is the only module that reads the environments in cdk.json; `app.py`, `data_prep`, `ops` and `local` use it.
Importing it does not import CDK.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from stacks.model.hours import check_weekly_hours
from stacks.shared.algorithm import ALGORITHMS, Algorithm
from stacks.shared.cifar_100 import check_class_name
from stacks.shared.instance_types import check_instance_type
from stacks.shared.retry_policy import (
    COLD_START,
    EXPRESS,
    EXPRESS_SERVERLESS,
    STANDARD,
    STANDARD_SERVERLESS,
    USUAL_IMAGE_SECONDS,
    ImageRetries,
    RetryPolicy,
    start_within_seconds,
)
from stacks.shared.schedule_expression import check_schedule

PROJECT_ROOT = Path(__file__).resolve().parent.parent

LogRetentionDays = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653]
_INSTANCE_TYPE = StringConstraints(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")
EndpointInstanceType = Annotated[
    str, _INSTANCE_TYPE, AfterValidator(lambda name: check_instance_type(name, "ProductionVariantInstanceType"))
]
TransformInstanceType = Annotated[
    str, _INSTANCE_TYPE, AfterValidator(lambda name: check_instance_type(name, "TransformInstanceType"))
]
TrainingInstanceType = Annotated[
    str, _INSTANCE_TYPE, AfterValidator(lambda name: check_instance_type(name, "TrainingInstanceType"))
]
ScheduleExpression = Annotated[str, StringConstraints(max_length=256), AfterValidator(check_schedule)]
# s3://BUCKET/PREFIX, or a prefix of the environment's own bucket. In an IAM policy, * and ? would be wildcards, and ${
# would begin a variable.
ImageSource = Annotated[
    str,
    StringConstraints(
        pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/)?([^/*?$:][^*?$:]*)?$", min_length=1, max_length=512
    ),
]
ClassName = Annotated[str, AfterValidator(check_class_name)]
WeeklyHours = Annotated[str, AfterValidator(check_weekly_hours)]

# The functions that uploads and bulk runs invoke for each image or batch. All others run once per execution, hour or
# release.
FUNCTIONS_UNDER_LOAD = (
    "SerializeImageData",
    "Classifier",
    "FilterConfidence",
    "FindPredictions",
    "ReadTransformOutput",
)
# An account's default quota is 1,000 concurrent executions, of which Lambda keeps 100 unreserved
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
MAX_RESERVED_CONCURRENCY = 900
# A batch and its outcomes must fit into the 262,144 bytes of a state
MAX_BATCH_SIZE = 100

# The share of the instances that receive traffic first when the endpoint is updated
CANARY_SHARE = 0.1
VARIANT_NAME = "AllTraffic"  # the endpoint's only variant
# Parameters of the model stack
ENDPOINT_EXISTS = "EndpointExists"  # whether a deployment updates the endpoint; only if endpoints scale
ENDPOINT_PAUSED = "EndpointPaused"

CDK_QUALIFIER = "hnb659fds"  # the default of `cdk bootstrap`
# CloudFormation generates names of at most 64 characters, which begin with at least 24 of the stack's name. `scones-`,
# this many characters and a hyphen are 24, so the generated name shows the environment's whole name.
MAX_BOUNDED_NAME = 16


class ConfigError(ValueError):
    """When an environment in cdk.json is invalid; the message is one line that says why."""


class _Section(BaseModel):
    # strict: "0.9" is not a number, nor is true; frozen: no stack can change the configuration
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _list_as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value  # JSON has no tuples


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) != len(value):
        raise ValueError("must name each once")
    return value


class EndpointConfig(_Section):
    """The endpoint that Classifier invokes."""

    kind: Literal["realtime", "serverless"] = "realtime"
    instance_type: EndpointInstanceType = "ml.m5.large"
    instance_count: Annotated[int, Field(ge=1, le=100)] = 1
    capture_percentage: Annotated[int, Field(ge=1, le=100)] = 100
    serverless_memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 2048
    serverless_max_concurrency: Annotated[int, Field(ge=1, le=200)] = 10
    bake_minutes: Annotated[int, Field(ge=1, le=60)] = 5
    # Looser than the operators' alarm, because the first requests of a new container are slow
    max_update_latency_ms: Annotated[int, Field(ge=1)] = 1000
    max_instance_count: Annotated[int, Field(ge=1, le=100)] | None = None
    invocations_per_instance: Annotated[int, Field(ge=1)] = 1000
    # Concurrent requests that keep an ml.m5.large busy; more would only wait in its queue
    requests_per_instance: Annotated[int, Field(ge=1, le=100)] = 10
    # Outside of these hours the endpoint is paused
    hours: WeeklyHours | None = None

    @field_validator("max_instance_count")
    @classmethod
    def _not_below_instance_count(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value < info.data.get("instance_count", 1):
            raise ValueError("must not be below endpoint.instance_count")
        if value is not None and info.data.get("kind") == "serverless":
            raise ValueError("a serverless endpoint has no instances to scale: remove this key")
        instance_type = info.data.get("instance_type", "")
        if value is not None and instance_type.startswith("ml.t2."):
            raise ValueError(
                f"SageMaker does not scale burstable instances, such as {instance_type}: remove this key, or choose "
                "another endpoint.instance_type"
            )
        return value

    @field_validator("hours")
    @classmethod
    def _of_instances(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("kind") == "serverless":
            raise ValueError(
                "a serverless endpoint costs nothing while idle, so there is nothing to pause: remove this key"
            )
        return value

    @property
    def canary_instances(self) -> int:
        """Instances that get traffic first in an update: CANARY_SHARE rounded up, but at most half, so 0 of one."""
        return min(math.ceil(self.instance_count * CANARY_SHARE), self.instance_count // 2)

    @property
    def is_isolated(self) -> bool:
        """Whether the model's container runs without a network, which a serverless endpoint does not support."""
        return self.kind != "serverless"

    @property
    def captures(self) -> bool:
        """Whether the endpoint captures requests and responses; otherwise the workflow records its predictions."""
        return self.kind != "serverless"

    @property
    def capacity(self) -> int:
        """Concurrent requests that the endpoint accepts before it scales."""
        return self._requests_at_a_time(self.instance_count)

    @property
    def largest_capacity(self) -> int:
        """Concurrent requests that the endpoint accepts with all instances that scaling may add."""
        return self._requests_at_a_time(self.max_instance_count or self.instance_count)

    @property
    def image_retries(self) -> ImageRetries:
        """The retries of the classification workflow."""
        return STANDARD_SERVERLESS if self.kind == "serverless" else STANDARD

    @property
    def cold_start_retries(self) -> tuple[RetryPolicy, ...]:
        """The retries of a caller that invokes the endpoint while it may have no running container."""
        return (COLD_START,) if self.kind == "serverless" else ()

    @property
    def bulk_retries(self) -> ImageRetries:
        """The retries of a bulk run's Express executions."""
        return EXPRESS_SERVERLESS if self.kind == "serverless" else EXPRESS

    def _requests_at_a_time(self, instances: int) -> int:
        return self.serverless_max_concurrency if self.kind == "serverless" else instances * self.requests_per_instance


class TrainingConfig(_Section):
    """The training job that `data_prep train` and the retraining workflow start."""

    algorithm: Literal["image-classification", "scikit-learn"] = "image-classification"
    # In order of preference: if the account has no quota or AWS no capacity for one, the next is used
    instance_types: tuple[TrainingInstanceType, ...] = Field(
        min_length=1, max_length=5, default_factory=lambda known: ALGORITHMS[known["algorithm"]].instance_types
    )
    preset: Literal["scratch", "transfer"] = "scratch"
    # Override those of the preset in stacks/shared/algorithm.py
    hyperparameters: dict[str, str | int | float] = {}
    spot: bool = False
    max_runtime_minutes: Annotated[int, Field(ge=5, le=5 * 24 * 60)] = 60

    _as_tuple = field_validator("instance_types", mode="before")(_list_as_tuple)
    _once = field_validator("instance_types")(_each_once)

    @field_validator("instance_types")
    @classmethod
    def _fit_the_algorithm(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if algorithm := ALGORITHMS.get(info.data.get("algorithm", "")):
            for name in value:
                algorithm.check_training_instance(name)
        return value


class BulkConfig(_Section):
    """The workflows for many images."""

    # Concurrent images over all batches; the default is what the endpoint accepts (EnvironmentConfig.bulk_concurrency)
    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None
    # The evaluation of a candidate and the first model's baseline are transform jobs too, on one instance of this type
    transform_instance_type: TransformInstanceType = "ml.m5.large"
    transform_instance_count: Annotated[int, Field(ge=1, le=100)] = 1


class ScheduleConfig(_Section):
    """A recurring run of a workflow over all images below a prefix of the bucket."""

    expression: ScheduleExpression
    prefix: Annotated[str, StringConstraints(pattern=r"^(incoming|scheduled)/.*$", max_length=512)] = "scheduled/"
    workflow: Literal["inline", "distributed-map", "batch-transform"] = "inline"

    @field_validator("workflow")
    @classmethod
    def _takes_the_prefix(cls, value: str, info: ValidationInfo) -> str:
        if value == "batch-transform" and not info.data.get("prefix", "/").endswith("/"):
            raise ValueError("needs a schedule.prefix that ends with a slash")
        return value


class RetrainingConfig(_Section):
    """When a new model is trained, and what it must achieve to be released."""

    # Whether drift, new data and the schedule start a run; an operator can always start one
    enabled: bool = True
    schedule: ScheduleExpression | None = None
    # Between the starts of two runs
    cool_down_minutes: Annotated[int, Field(ge=0, le=7 * 24 * 60)] = 720
    minimum_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.80
    margin: Annotated[float, Field(ge=0, le=1)] = 0.02
    max_calibration_error: Annotated[float, Field(gt=0, le=1)] = 0.15
    approval: bool = False
    approval_hours: Annotated[int, Field(ge=1, le=14 * 24)] = 72


class MonitoringConfig(_Section):
    """When the operators are notified."""

    p99_latency_ms: Annotated[int, Field(ge=1)] = 200
    rejected_percent: Annotated[float, Field(gt=0, le=100)] = 50.0
    # Population stability index; must exceed PSI_WATCH of lambda_src/monitoring/drift.py
    drift_bound: Annotated[float, Field(gt=0.1, le=10)] = 0.25
    drift_window_hours: Annotated[int, Field(ge=1, le=24)] = 6
    # CloudWatch accepts metrics that are at most two weeks old
    label_delay_hours: Annotated[int, Field(ge=1, le=13 * 24)] = 24
    # An alarm looks back at most a week. The default ignores a weekend without images.
    idle_hours: Annotated[int, Field(ge=1, le=7 * 24)] | None = 72
    # For all resources with the environment's tag
    monthly_budget_usd: Annotated[float, Field(gt=0, le=1e9)] | None = None
    runbook_url: Annotated[str, StringConstraints(pattern=r"^[^\s#]+$", max_length=512)] = "docs/runbook.md"


class EnvironmentConfig(_Section):
    """Everything that may differ between two environments of the application."""

    # The names of resources contain it, and no service accepts a name that ends with a hyphen
    name: Annotated[str, StringConstraints(pattern=r"^[a-z](-*[a-z0-9])*$", max_length=20)]
    # In label order: the first class is label 0 of the model
    classes: Annotated[tuple[ClassName, ...], Field(min_length=2, max_length=100)] = ("bicycle", "motorcycle")
    confidence_threshold: Annotated[float, Field(gt=0, le=1)] = 0.90
    endpoint: EndpointConfig = EndpointConfig()
    map_concurrency: Annotated[int, Field(ge=1, le=40)] = 10
    # Locations of images that an execution's input may name, besides incoming/, scheduled/ and test/
    image_sources: Annotated[tuple[ImageSource, ...], Field(max_length=20)] = ()
    # Reserved for each of FUNCTIONS_UNDER_LOAD. A new account's quota of 10 to 50 leaves nothing to reserve.
    function_concurrency: Annotated[int, Field(ge=1)] | None = None
    bulk: BulkConfig = BulkConfig()
    alert_email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")] | None = None
    # As in the subject of GitHub's OIDC tokens: with ids if created, renamed or transferred since 2026-07-15
    # https://github.blog/changelog/2026-04-23-immutable-subject-claims-for-github-actions-oidc-tokens
    github_repository: str | None = None
    # The qualifier of a `cdk bootstrap` for this environment alone, bounded by stacks/delivery/boundary.yaml
    bootstrap_qualifier: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,10}$")] | None, Field(validate_default=True)
    ] = None
    # Name of the account's policy that bounds every role. With bootstrap_qualifier the environment has its own.
    permissions_boundary: (
        Annotated[str, StringConstraints(pattern=r"^([\w+=,.@-]+/)*[\w+=,.@-]+$", max_length=128)] | None
    ) = None
    log_retention_days: LogRetentionDays = 30
    customer_managed_key: bool = False
    access_logging: bool = False
    removal_policy: Literal["retain", "destroy"] = "retain"
    schedule: ScheduleConfig | None = None
    training: TrainingConfig = TrainingConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    monitoring: MonitoringConfig = MonitoringConfig()

    _as_tuple = field_validator("classes", "image_sources", mode="before")(_list_as_tuple)
    _once = field_validator("classes", "image_sources")(_each_once)

    @field_validator("function_concurrency")
    @classmethod
    def _leaves_the_account_its_share(cls, value: int | None) -> int | None:
        count = len(FUNCTIONS_UNDER_LOAD)
        if value is not None and value * count > MAX_RESERVED_CONCURRENCY:
            raise ValueError(
                f"reserves {value * count} ({count} functions x {value}), but Lambda keeps 100 of an account's 1000 "
                f"unreserved: set at most {MAX_RESERVED_CONCURRENCY // count}, or less if other environments of the "
                "account reserve concurrency too, or remove this key"
            )
        return value

    @field_validator("github_repository")
    @classmethod
    def _names_a_repository(cls, value: str | None) -> str | None:
        name, number = "[A-Za-z0-9._-]{1,100}", "@[0-9]{1,20}"
        if value is not None and not re.fullmatch(rf"{name}/{name}|{name}{number}/{name}{number}", value):
            raise ValueError(
                "must be OWNER/NAME, or OWNER@ID/NAME@ID for a repository that was created, renamed or transferred "
                "since 2026-07-15: CONTRIBUTING.md shows how to find the ids"
            )
        return value

    @field_validator("bootstrap_qualifier")
    @classmethod
    def _binds_what_deploys_it(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("github_repository") and not value:
            raise ValueError(
                "is required with github_repository: with the account's own `cdk bootstrap`, the repository's "
                "workflows would be administrators of the account. CONTRIBUTING.md has the commands"
            )
        if value and len(info.data["name"]) > MAX_BOUNDED_NAME:
            raise ValueError(
                f"requires an environment's name of at most {MAX_BOUNDED_NAME} characters: CloudFormation would "
                "shorten the names of the resources, and the boundary would not allow them"
            )
        return value

    @field_validator("permissions_boundary")
    @classmethod
    def _is_the_only_boundary(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("bootstrap_qualifier"):
            raise ValueError(
                f"with bootstrap_qualifier the boundary is scones-{info.data['name']}-boundary, and a role has only "
                "one: remove this key, and add what your company requires to stacks/delivery/boundary.yaml"
            )
        return value

    @field_validator("bulk")
    @classmethod
    def _within_capacity(cls, value: BulkConfig, info: ValidationInfo) -> BulkConfig:
        wanted, endpoint = value.concurrency, info.data.get("endpoint")
        if wanted is None or endpoint is None:
            return value
        if wanted > endpoint.largest_capacity:
            limit = (
                "endpoint.serverless_max_concurrency"
                if endpoint.kind == "serverless"
                else "the endpoint's instances (max_instance_count, or else instance_count) x requests_per_instance"
            )
            raise ValueError(
                f"concurrency must be at most {endpoint.largest_capacity}, which is {limit}: further images would wait "
                "until they time out"
            )
        functions = info.data.get("function_concurrency")
        if functions is not None and wanted > functions:
            raise ValueError(
                f"concurrency must be at most {functions}, which is function_concurrency: Lambda would refuse further "
                "invocations"
            )
        return value

    @property
    def reserved_concurrency(self) -> int:
        """Concurrent executions that this environment reserves from the account's quota, over all its functions."""
        return (self.function_concurrency or 0) * len(FUNCTIONS_UNDER_LOAD)

    @property
    def bulk_concurrency(self) -> int:
        """Concurrent images of a bulk run: what the endpoint accepts before it scales, and the functions' limit."""
        return self.bulk.concurrency or min(self.endpoint.capacity, self.function_concurrency or self.endpoint.capacity)

    @property
    def bulk_images_at_once(self) -> int:
        """Concurrent images within a batch. More of them shorten the Express execution, which is billed by duration."""
        return min(5, self.bulk_concurrency)

    @property
    def bulk_batch_size(self) -> int:
        """Images of a batch: as many as can start in time, because an Express execution ends after five minutes."""
        retries = self.endpoint.bulk_retries
        return min(MAX_BATCH_SIZE, self.bulk_images_at_once * (start_within_seconds(retries) // USUAL_IMAGE_SECONDS))

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm of future training; the model in service may be of the other one."""
        return ALGORITHMS[self.training.algorithm]

    @property
    def stage_name(self) -> str:
        """Prefix of every stack's name, so that environments can share an account."""
        return f"scones-{self.name}"

    @property
    def qualifier(self) -> str:
        """The qualifier of the `cdk bootstrap` that deploys the environment."""
        return self.bootstrap_qualifier or CDK_QUALIFIER

    @property
    def boundary_name(self) -> str | None:
        """Name of the policy that bounds every role: the configured one, or the one that goes with the qualifier."""
        return self.permissions_boundary or (f"{self.stage_name}-boundary" if self.bootstrap_qualifier else None)

    @property
    def endpoint_name(self) -> str:
        return self.stage_name

    @property
    def artifact_parameter(self) -> str:
        """SSM parameter that holds the S3 URI of the model artifact to serve."""
        return f"/scones/{self.name}/model/artifact-uri"

    @property
    def model_metadata_parameter(self) -> str:
        """SSM parameter that holds that artifact's origin as JSON (TrainedModel)."""
        return f"/scones/{self.name}/model/metadata"

    @property
    def model_algorithm_parameter(self) -> str:
        """SSM parameter that holds that artifact's algorithm, which determines the container that serves it."""
        return f"/scones/{self.name}/model/algorithm"

    @property
    def baseline_parameter(self) -> str:
        """SSM parameter that holds the key of the drift monitor's baseline."""
        return f"/scones/{self.name}/model/baseline-key"

    @property
    def drift_alarm_name(self) -> str:
        """CloudWatch alarm that starts retraining."""
        return f"{self.stage_name}-drift"

    @property
    def update_alarm_names(self) -> tuple[str, str]:
        """CloudWatch alarms that roll an update of the endpoint back: for errors, and for latency."""
        return f"{self.stage_name}-update-errors", f"{self.stage_name}-update-latency"

    @property
    def retraining_name(self) -> str:
        """Name of the retraining state machine. Fixed, because policies name it before it exists."""
        return f"{self.stage_name}-retraining"

    @property
    def pause_name(self) -> str:
        """Name of the state machine that pauses and resumes the endpoint."""
        return f"{self.stage_name}-pause"

    @property
    def distributed_map_name(self) -> str:
        """Name of the bulk workflow that invokes the endpoint; the pause state machine starts it after a resume."""
        return f"{self.stage_name}-DistributedMap"

    @property
    def batch_transform_name(self) -> str:
        """Name of the bulk workflow that classifies by Batch Transform."""
        return f"{self.stage_name}-BatchTransform"

    @property
    def model_package_group(self) -> str:
        """Model Registry group in which a release waits for approval."""
        return self.stage_name

    @property
    def metric_namespace(self) -> str:
        """CloudWatch namespace of the metrics that this environment's functions publish."""
        return f"SconesUnlimited/{self.name}"


_SECTIONS: dict[str, type[_Section]] = {
    "bulk": BulkConfig,
    "endpoint": EndpointConfig,
    "retraining": RetrainingConfig,
    "monitoring": MonitoringConfig,
    "schedule": ScheduleConfig,
    "training": TrainingConfig,
}


def parse_environment(name: str, values: object) -> EnvironmentConfig:
    """Validate one entry of the context's `environments`; raises ConfigError."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"environment {name!r}: must be an object of settings, not {values!r}")
    if "name" in values:
        raise ConfigError(f"environment {name!r}: 'name' is the key of the environment and cannot be set in it")
    try:
        return EnvironmentConfig(name=name, **{str(key): value for key, value in values.items()})
    except ValidationError as error:
        raise ConfigError(f"environment {name!r}: {_first_problem(error)}") from None


def _first_problem(error: ValidationError) -> str:
    """`key = value: what is allowed`, for the first error."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        section = _SECTIONS.get(str(first["loc"][0]), EnvironmentConfig)
        allowed = sorted(set(section.model_fields) - {"name"})
        return f"unknown key {key!r} = {first['input']!r}; allowed are {', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{key} is missing"
    reason = re.sub(r"^(Value error, |(Input|Value|String|Tuple|List) (?=should))", "", first["msg"])
    return f"{key} = {first['input']!r}: {reason}"


def parse_environments(context: object, *, only: str | None = None) -> tuple[EnvironmentConfig, ...]:
    """Validate the context's `environments`, a JSON object from name to settings; raises ConfigError.

    only: the name of the one to return; all are validated even so.
    """
    if not isinstance(context, Mapping) or not context:
        raise ConfigError('cdk.json: context "environments" must be an object with at least one environment')
    _check_names([str(name) for name in context])
    environments = tuple(parse_environment(str(name), values) for name, values in context.items())
    _check_qualifiers(environments)
    if only is None:
        return environments
    chosen = tuple(config for config in environments if config.name == only)
    if not chosen:
        names = ", ".join(config.name for config in environments)
        raise ConfigError(f"context only={only}: cdk.json has no such environment; it has {names}")
    return chosen


def _check_names(names: list[str]) -> None:
    """Raise ConfigError if one environment's permissions, on `scones-NAME-*`, would include another environment."""
    for name in names:
        for other in names:
            if other.startswith(f"{name}-"):
                raise ConfigError(
                    f"environments {name!r} and {other!r}: the roles of {name!r} may use everything called "
                    f"scones-{name}-*, which includes {other!r}; rename one of them"
                )


def _check_qualifiers(environments: tuple[EnvironmentConfig, ...]) -> None:
    """Raise ConfigError if two environments have the same bootstrap_qualifier, and so the same deployment roles."""
    owners: dict[str, str] = {}
    for config in environments:
        if config.bootstrap_qualifier and owners.setdefault(config.bootstrap_qualifier, config.name) != config.name:
            raise ConfigError(
                f"environments {owners[config.bootstrap_qualifier]!r} and {config.name!r}: bootstrap_qualifier = "
                f"{config.bootstrap_qualifier!r} for both would let each deploy the other; choose another one"
            )


def load_environment(name: str, cdk_json: Path = PROJECT_ROOT / "cdk.json") -> EnvironmentConfig:
    """Read one environment from cdk.json, for the tools that run without CDK; raises ConfigError."""
    try:
        content: Any = json.loads(cdk_json.read_text(encoding="utf-8"))
        environments = content["context"]["environments"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{cdk_json}: cannot read context.environments: {error}") from None
    if not isinstance(environments, Mapping) or name not in environments:
        known = ", ".join(map(str, environments)) if isinstance(environments, Mapping) and environments else "none"
        raise ConfigError(f"environment {name!r} is not in {cdk_json.name}; it has {known}")
    _check_names(list(map(str, environments)))
    return parse_environment(name, environments[name])
