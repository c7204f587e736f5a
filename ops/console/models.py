"""The page Models: releases, the candidate that waits for approval, and the buttons that start a run."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from lambda_src.retraining.lst_file import source_of
from lambda_src.retraining.release import job_of
from lambda_src.retraining.trained_model import VALIDATION_IMAGES
from lambda_src.shared.model_documents import document_key
from lambda_src.shared.release_history import Record, read_records
from ops import aws
from ops.console import health
from ops.console.parts import Part, part
from ops.console.site import Site, site
from ops.console.views import page
from ops.errors import OpsError
from ops.lineage import Model, model_of, read_document
from ops.retraining import rollback_input, start_run, training_input
from stacks.config import EnvironmentConfig

MAX_RELEASES = 10
MAX_DIFFERENCES = 24
_PENDING = "PendingManualApproval"


@dataclass(frozen=True)
class Decision:
    """Who approved or rejected a model, and when. `by` is empty if the registry does not have it."""

    status: str
    by: str
    at: datetime


@dataclass(frozen=True)
class Release:
    """A model, since when it was in service, and its approval if one was required."""

    job: str
    since: datetime
    model: Model
    decision: Decision | None
    is_served: bool


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for a validation image."""

    label: str
    confidence: float
    is_correct: bool


@dataclass(frozen=True)
class Difference:
    """A validation image for which two models predict different classes."""

    key: str
    label: str
    candidate: Prediction
    incumbent: Prediction


@dataclass(frozen=True)
class Slice:
    """Both models' accuracy on the images of one class or source; the first is of all images."""

    name: str
    images: int
    candidate: float
    incumbent: float


@dataclass(frozen=True)
class Comparison:
    """Candidate and incumbent on the same validation images; `differences` are the first MAX_DIFFERENCES."""

    slices: tuple[Slice, ...]
    calibration_errors: tuple[float | None, float | None]
    differences: tuple[Difference, ...]
    different: int


@dataclass(frozen=True)
class Candidate:
    """A model package that waits for approval, with its comparison to the model in service."""

    package: str
    job: str
    incumbent: str
    deadline: datetime
    comparison: Comparison | None  # None if the predictions of one of them are missing


@dataclass(frozen=True)
class Run:
    """A retraining run in progress, and its current state."""

    name: str
    started: datetime
    state: str


def models(request: Request) -> Response:
    return _page(request)


def _page(request: Request, *, problem: str = "", status: int = 200) -> Response:
    shown = site(request)
    config = shown.config
    with ThreadPoolExecutor() as pool:

        def reading(read: Callable[[], Any], on: str) -> Callable[[], Part[Any]]:
            return pool.submit(part, read, on=on).result

        found = {
            "run": reading(lambda: run_under_way(_machine(shown)), _machine(shown)),
            "candidate": reading(
                lambda: candidate(config, shown.bucket), f"the models of {config.model_package_group}"
            ),
            "releases": reading(lambda: releases(config, shown.bucket), f"bucket {shown.bucket}"),
        }
        parts = {name: result() for name, result in found.items()}
    started = request.query_params.get("started", "") if request.method == "GET" else ""
    return page(request, "models.html", status=status, problem=problem, started=started, **parts)


def _machine(shown: Site) -> str:
    """ARN of the retraining workflow."""
    return f"{shown.state_machine_arn.rpartition(':')[0]}:{shown.config.retraining_name}"


def run_under_way(machine: str) -> Run | None:
    """The newest run that has not ended."""
    client = aws.stepfunctions()
    running = client.list_executions(stateMachineArn=machine, statusFilter="RUNNING", maxResults=1)["executions"]
    if not running:
        return None
    (execution,) = running
    events = client.get_execution_history(
        executionArn=execution["executionArn"], reverseOrder=True, maxResults=100, includeExecutionData=False
    )["events"]
    states = [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]
    return Run(execution["name"], execution["startDate"], states[0] if states else "")


def releases(config: EnvironmentConfig, bucket: str) -> list[Release]:
    """The latest MAX_RELEASES releases, newest first."""
    in_service = [record for record in read_records(aws.s3(), bucket) if record.is_in_service]
    # After scaling or another deployment, an endpoint is in service again with the same model
    firsts = [next(group) for _, group in groupby(in_service, lambda record: record.artifact_uri)]
    newest = firsts[::-1][:MAX_RELEASES]
    decisions = _decisions(config)
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda record: model_of(bucket, record), newest)
    return [
        _release(record, model, decisions, is_served=number == 0)
        for number, (record, model) in enumerate(zip(newest, found, strict=True))
    ]


def _release(record: Record, model: Model, decisions: Mapping[str, Decision], *, is_served: bool) -> Release:
    job = job_of(record.artifact_uri)
    return Release(job, datetime.fromisoformat(record.time), model, decisions.get(job), is_served)


def _packages(config: EnvironmentConfig, status: str) -> list[Mapping[str, Any]]:
    """Descriptions of the latest MAX_RELEASES model packages with this approval status."""
    sagemaker = aws.sagemaker()
    listed = sagemaker.list_model_packages(
        ModelPackageGroupName=config.model_package_group,
        ModelApprovalStatus=status,  # type: ignore[arg-type]
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=MAX_RELEASES,
    )["ModelPackageSummaryList"]
    return [sagemaker.describe_model_package(ModelPackageName=found["ModelPackageArn"]) for found in listed]


def _decisions(config: EnvironmentConfig) -> dict[str, Decision]:
    """The approval of each training job whose model was approved."""
    return {
        package["CustomerMetadataProperties"]["training-job"]: Decision(
            package["ModelApprovalStatus"],
            package.get("ApprovalDescription", "") or _identity(package),
            package.get("LastModifiedTime", package["CreationTime"]),
        )
        for package in _packages(config, "Approved")
    }


def _identity(package: Mapping[str, Any]) -> str:
    """Who last changed a model package."""
    by = package.get("LastModifiedBy", {})
    return str(by.get("UserProfileName") or by.get("IamIdentity", {}).get("Arn", ""))


def candidate(config: EnvironmentConfig, bucket: str) -> Candidate | None:
    """The latest model that has been neither approved nor rejected."""
    pending = _packages(config, _PENDING)
    if not pending:
        return None
    package = pending[0]
    job = package["CustomerMetadataProperties"]["training-job"]
    served = health.model(config, bucket)
    incumbent = served.job if served else ""
    return Candidate(
        package=package["ModelPackageArn"],
        job=job,
        incumbent=incumbent,
        deadline=package["CreationTime"] + timedelta(hours=config.retraining.approval_hours),
        comparison=compare(bucket, job, incumbent, config.classes),
    )


def compare(bucket: str, job: str, incumbent: str, classes: Sequence[str]) -> Comparison | None:
    """Both models' predictions for the validation images that both have classified; None if there are none."""
    ours, theirs = (_predictions(bucket, name) for name in (job, incumbent))
    keys = [key for key in ours if key in theirs and ours[key]["label"] == theirs[key]["label"]]
    if not keys:
        return None
    pairs = [_difference(key, ours[key], theirs[key], classes) for key in keys]
    different = [pair for pair in pairs if pair.candidate.label != pair.incumbent.label]
    errors = [
        read_document(bucket, document_key(name, "evaluation")).get("calibration_error") for name in (job, incumbent)
    ]
    return Comparison(tuple(_slices(pairs)), (errors[0], errors[1]), tuple(different[:MAX_DIFFERENCES]), len(different))


def _predictions(bucket: str, job: str) -> dict[str, Mapping[str, Any]]:
    """The predictions of a training job's model by image key."""
    found = read_document(bucket, document_key(job, "predictions")) if job else {}
    return {image["key"]: image for image in found.get("images", [])}


def _difference(key: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], classes: Sequence[str]) -> Difference:
    def prediction(found: Mapping[str, Any]) -> Prediction:
        confidence = max(found["probabilities"])
        best = found["probabilities"].index(confidence)
        return Prediction(classes[best], confidence, best == found["label"])

    return Difference(key, classes[ours["label"]], prediction(ours), prediction(theirs))


def _slices(pairs: Sequence[Difference]) -> list[Slice]:
    """All images; then each class; then each source, if there are two."""
    members: dict[str, list[Difference]] = {"all images": list(pairs)}
    for pair in sorted(pairs, key=lambda pair: pair.label):
        members.setdefault(f"class {pair.label}", []).append(pair)
    for pair in pairs:
        members.setdefault(f"source {source_of(pair.key.removeprefix(VALIDATION_IMAGES))}", []).append(pair)
    return [
        Slice(
            name,
            len(found),
            sum(pair.candidate.is_correct for pair in found) / len(found),
            sum(pair.incumbent.is_correct for pair in found) / len(found),
        )
        for name, found in members.items()
        if name == "all images" or len(found) < len(pairs)
    ]


def decide(request: Request) -> Response:
    """Expects `package`, and `status`: Approved or Rejected."""
    form = request.state.form
    package, status = form.get("package", ""), form.get("status", "")
    if status not in {"Approved", "Rejected"}:
        return _page(request, problem=f"A model is Approved or Rejected, not {status or 'nothing'}.", status=400)

    def store() -> str:
        sagemaker = aws.sagemaker()
        found = sagemaker.describe_model_package(ModelPackageName=package)
        if found["ModelPackageGroupName"] != site(request).config.model_package_group:
            raise OpsError(f"{package} is a model of another environment.")
        if found["ModelApprovalStatus"] != _PENDING:
            raise OpsError(f"Somebody was faster: the model is {found['ModelApprovalStatus']}.")
        who = aws.sts().get_caller_identity()["Arn"]
        sagemaker.update_model_package(
            ModelPackageArn=package,
            ModelApprovalStatus=status,
            ApprovalDescription=f"{status} in the console by {who}"[:1024],
        )
        return ""

    return _changed(request, store, on=package)


def retrain(request: Request) -> Response:
    """Expects `force` and `approval` if their boxes are checked."""
    form, machine = request.state.form, _machine(site(request))
    wanted = training_input(force="force" in form, approval="approval" in form)
    return _changed(request, lambda: start_run(machine, wanted), on=machine)


def rollback(request: Request) -> Response:
    """Expects `job`, the training job of the model to roll back to."""
    job, machine = request.state.form.get("job", ""), _machine(site(request))
    if not job:
        return _page(request, problem="Name the model to roll back to.", status=400)
    return _changed(request, lambda: start_run(machine, rollback_input(job)), on=machine)


def _changed(request: Request, change: Callable[[], str], *, on: str) -> Response:
    """Make a change, then show the page with the change or with the error."""
    done = part(change, on=on)
    if done.missing:
        return _page(request, problem=done.missing, status=409)
    name = (done.value or "").rpartition(":")[2]
    return RedirectResponse(f"/models?started={name}" if name else "/models", 303)


ROUTES = [
    Route("/models", models),
    Route("/models/decide", decide, methods=["POST"]),
    Route("/models/retrain", retrain, methods=["POST"]),
    Route("/models/rollback", rollback, methods=["POST"]),
]
