"""Refuses requests that AWS would refuse although botocore accepts them: patterns, lengths, sizes, ranges and enums.

botocore validates names, types and most minimums. Its models have further constraints, which only the service enforces.
Constraints that only a service's documentation states are in `_DOCUMENTED`.
"""

import json
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import botocore.session
import regex
from botocore.exceptions import ParamValidationError
from botocore.handlers import BUILTIN_HANDLERS
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.validate import ParamValidator

Request = Mapping[str, Any]


class RefusedError(ParamValidationError):
    """When AWS would refuse a request with correct members and types; `report` is its message."""

    fmt = "AWS would refuse {service} {operation}: {report}"


def install() -> None:
    """Check every request of all boto3 sessions that this process creates afterwards."""
    hook = ("before-parameter-build", _check_parameters)
    if hook not in BUILTIN_HANDLERS:
        BUILTIN_HANDLERS.append(hook)


def _check_parameters(params: Request, model: OperationModel, **_: object) -> None:
    check(model, params)


def check(operation: OperationModel, request: Request) -> None:
    """Raise ParamValidationError for what botocore refuses, and RefusedError for what only the service refuses.

    Streams are not checked: their size is unknown before they are sent.
    """
    if operation.input_shape is None:
        return
    report = ParamValidator().validate(request, operation.input_shape)
    if report.has_errors():
        raise ParamValidationError(report=report.generate_report())
    found = [*_violations(request, operation.input_shape, ""), *_documented_violations(operation, request)]
    if found:
        errors = f"{len(found)} validation error{'s' * (len(found) > 1)} detected: {'; '.join(found)}"
        raise RefusedError(service=operation.service_model.service_name, operation=operation.name, report=errors)


def task_request(integration: str, arguments: Request) -> tuple[OperationModel, dict[str, Any]]:
    """The operation that a Task state calls, and its request, given its `Resource` and its evaluated `Arguments`.

    Step Functions writes JSON where the service expects bytes. JSON can contain a lone surrogate, which UTF-8 cannot.
    """
    service, _, action = _INTEGRATION.sub("", integration).partition(":")
    operation = _service_model(_SERVICES.get(service, service)).operation_model(f"{action[0].upper()}{action[1:]}")
    shapes = operation.input_shape.members if operation.input_shape else {}
    request = dict(arguments)
    if operation.service_model.service_name == "stepfunctions":
        # Step Functions capitalizes its own API's members, too, and accepts JSON where its API has text
        request = {f"{name[0].lower()}{name[1:]}": value for name, value in request.items()}
        if isinstance(request.get("input"), dict):
            request["input"] = json.dumps(request["input"], ensure_ascii=False)
    for name, value in arguments.items():
        if not isinstance(value, str | bytes) and name in shapes and shapes[name].type_name == "blob":
            request[name] = json.dumps(value, ensure_ascii=False).encode(errors="replace")
    return operation, request


# Services with different names in integrations and botocore
_SERVICES = {"sfn": "stepfunctions", "states": "stepfunctions"}
# Prefix and suffix of `service:action`
_INTEGRATION = regex.compile(r"^(arn:[^:]+:states:::)?(aws-sdk:)?|\.(sync(:2)?|waitForTaskToken)$")


@cache
def _service_model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def _violations(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if value is None or shape.serialization.get("jsonvalue") or shape.metadata.get("document"):
        return
    for constraint in _broken_constraints(value, shape):
        yield _violation(value, path, constraint)
    for child, child_shape, child_path in _children(value, shape, path):
        yield from _violations(child, child_shape, child_path)


def _violation(value: object, path: str, constraint: str) -> str:
    return f"Value {reprlib.repr(value)} at {path!r} failed to satisfy constraint: {constraint}"


def _children(value: Any, shape: Any, path: str) -> Iterator[tuple[Any, Shape, str]]:
    """The members of a structure, list or map, with their shapes and their paths as AWS writes them."""
    if shape.type_name == "structure":
        for name, member in value.items():
            yield member, shape.members[name], f"{path}.{_camel_case(name)}".removeprefix(".")
    elif shape.type_name == "list":
        for number, item in enumerate(value, start=1):
            yield item, shape.member, f"{path}.{number}.member"
    elif shape.type_name == "map":
        for key, item in value.items():
            yield key, shape.key, f"{path} (key)"
            yield item, shape.value, f"{path}.{key}"


def _camel_case(name: str) -> str:
    return f"{name[0].lower()}{name[1:]}"


def _broken_constraints(value: Any, shape: Shape) -> Iterator[str]:
    rules = shape.metadata
    what, size = _measure(value, shape)
    if size is not None and size < rules.get("min", size):
        yield f"Member must have {what} greater than or equal to {rules['min']}, not {size}"
    if size is not None and size > rules.get("max", size):
        yield f"Member must have {what} less than or equal to {rules['max']}, not {size}"
    if shape.type_name == "string":
        if "pattern" in rules and not _pattern(rules["pattern"]).fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {rules['pattern']}"
        if "enum" in rules and value not in rules["enum"]:
            yield f"Member must satisfy enum value set: {rules['enum']}"


def _measure(value: Any, shape: Shape) -> tuple[str, int | float | None]:
    """The quantity that a shape's `min` and `max` limit: a number's value, or a length."""
    if shape.type_name in {"integer", "long", "float", "double"}:
        return "value", value
    if shape.type_name == "blob" and isinstance(value, str):
        return "length", _bytes(value)
    return "length", len(value) if hasattr(value, "__len__") else None


@cache
def _pattern(pattern: str) -> "regex.Pattern[str]":
    r"""A pattern in Java's or ECMAScript's dialect; they write the characters beyond U+FFFF as pairs of surrogates."""
    return regex.compile(pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF"))


# Constraints that only the documentation states


@dataclass(frozen=True)
class _Documented:
    service: str
    member: str  # `Operation.Member`, or only the member if it applies to every operation
    constraint: str
    is_kept: Callable[[Any, Request], bool]  # given the member's value, and the request
    source: str


def _bytes(value: str | bytes) -> int:
    """The length in UTF-8; botocore itself refuses lone surrogates."""
    return len(value.encode(errors="surrogatepass") if isinstance(value, str) else value)


_DOCUMENTED = (
    _Documented(
        service="s3",
        member="Key",
        constraint="Member must be at most 1024 bytes of UTF-8",
        is_kept=lambda key, _: _bytes(key) <= 1024,
        source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html",
    ),
    _Documented(
        service="s3",
        member="Metadata",
        constraint="Member must be at most 2048 bytes, keys and values together",
        is_kept=lambda metadata, _: sum(_bytes(key) + _bytes(value) for key, value in metadata.items()) <= 2048,
        source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html",
    ),
    _Documented(
        service="sns",
        member="Publish.Subject",
        constraint="Member must be less than 100 characters, without line breaks or control characters",
        is_kept=lambda subject, _: len(subject) < 100 and not _pattern(r"[\p{Cc}\p{Zl}\p{Zp}]").search(subject),
        source="https://docs.aws.amazon.com/sns/latest/api/API_Publish.html",
    ),
    _Documented(
        service="sns",
        member="Publish.Message",
        constraint="Member must be at most 262144 bytes of UTF-8",
        is_kept=lambda message, _: _bytes(message) <= 262_144,
        source="https://docs.aws.amazon.com/sns/latest/api/API_Publish.html",
    ),
    _Documented(
        service="ssm",
        member="PutParameter.Value",
        constraint="Member must be at most 4096 bytes, or 8192 of an advanced parameter, and have nothing in {{}}",
        is_kept=lambda value, request: (
            _bytes(value) <= (4096 if request.get("Tier", "Standard") == "Standard" else 8192)
            and not _pattern(r"\{\{.*\}\}").search(value)
        ),
        source="https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html",
    ),
    _Documented(
        service="ssm",
        member="PutParameter.Name",
        constraint="Member must have letters, digits and _.-/ only, at most 15 levels, and not begin with aws or ssm",
        is_kept=lambda name, _: bool(_pattern(r"(?i)/?(?!aws|ssm)[a-z0-9_.-]+(/[a-z0-9_.-]+){0,14}").fullmatch(name)),
        source="https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html",
    ),
    _Documented(
        service="stepfunctions",
        member="StartExecution.name",
        constraint='Member must have no whitespace, control characters, brackets, wildcards or any of "#%\\^|~`$&,;:/',
        is_kept=lambda name, _: not _pattern(r"""[\s\p{C}<>{}\[\]?*"#%\\^|~`$&,;:/]""").search(name),
        source="https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html",
    ),
    _Documented(
        service="cloudwatch",
        member="PutMetricData.MetricData",
        constraint="Member must have at most 1000 metrics, with finite values from -2^360 to 2^360",
        is_kept=lambda data, _: len(data) <= 1000 and all(abs(datum.get("Value", 0)) <= 2**360 for datum in data),
        source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html",
    ),
    _Documented(
        service="lambda",
        member="Invoke.Payload",
        constraint="Member must be at most 6 MB, or 1 MB of an asynchronous invocation",
        is_kept=lambda payload, request: (
            _bytes(payload) <= (1 << 20 if request.get("InvocationType") == "Event" else 6 << 20)
        ),
        source="https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html",
    ),
)


def _documented_violations(operation: OperationModel, request: Request) -> Iterator[str]:
    for rule in _DOCUMENTED:
        name, _, member = rule.member.rpartition(".")
        applies = rule.service == operation.service_model.service_name and name in {"", operation.name}
        if applies and member in request and not rule.is_kept(request[member], request):
            yield _violation(request[member], _camel_case(member), f"{rule.constraint} ({rule.source})")
