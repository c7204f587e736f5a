"""The validator of requests: constraints of AWS's models and documentation that botocore does not check."""

import io
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import ParamValidationError

from local import strict

PACKAGE = {
    "ModelPackageGroupName": "scones-dev",
    "ClientToken": "01234567-89abcdef",
    "ModelPackageDescription": "Für 3 € 'ok'",
    "InferenceSpecification": {"Containers": [{"Image": "1.dkr.ecr/image:1", "ModelDataUrl": "s3://b/model.tar.gz"}]},
    "CustomerMetadataProperties": {"accuracy": "0.9"},
}
CONTAINER = PACKAGE["InferenceSpecification"]["Containers"][0]  # type: ignore[index]
TRANSFORM = {
    "TransformJobName": "scones-dev-1",
    "ModelName": "m",
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/"}}},
    "TransformOutput": {"S3OutputPath": "s3://b/out"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}
OBJECT = {"Bucket": "bucket", "Key": "key", "Body": b""}
MESSAGE = {"TopicArn": "arn:aws:sns:us-east-1:123456789012:t", "Message": "m", "Subject": "S"}
PARAMETER = {"Name": "/scones/dev/model/artifact-uri", "Value": "v", "Type": "String"}
METRICS = {"Namespace": "SconesUnlimited/dev", "MetricData": [{"MetricName": "m", "Value": 1.0}]}
INVOCATION = {"FunctionName": "f", "Payload": b"{}"}
PREDICTION = {"EndpointName": "scones-dev", "Body": b"pixels"}


def check(service: str, operation: str, request: dict[str, Any]) -> None:
    model = botocore.session.get_session().get_service_model(service)
    strict.check(model.operation_model(operation), request)


@pytest.mark.parametrize(
    ("service", "operation", "request_"),
    [
        ("sagemaker", "CreateModelPackage", PACKAGE),
        ("sagemaker", "CreateModelPackage", {**PACKAGE, "ClientToken": "x" * 36, "ModelPackageDescription": ""}),
        ("sagemaker", "CreateTransformJob", TRANSFORM),
        ("sagemaker", "CreateTransformJob", {**TRANSFORM, "TransformJobName": "a" + "-" * 30 + "a" * 32}),
        ("sagemaker", "ListModels", {}),
        ("sagemaker-runtime", "InvokeEndpoint", {**PREDICTION, "Body": b"x" * 6291456}),
        ("s3", "PutObject", {**OBJECT, "Key": "x" * 1022 + "ü"}),
        ("s3", "PutObject", {**OBJECT, "Body": io.BytesIO(b"a stream")}),
        ("sns", "Publish", {**MESSAGE, "Subject": "x" * 99, "Message": "lines\n" * 1000}),
        ("ssm", "PutParameter", {**PARAMETER, "Value": "x" * 4096}),
        ("ssm", "PutParameter", {**PARAMETER, "Value": "x" * 8192, "Tier": "Advanced"}),
        ("ssm", "PutParameter", {**PARAMETER, "Name": "/x" * 15, "Value": '{"a": {"b": {}}}'}),
        ("cloudwatch", "PutMetricData", {**METRICS, "MetricData": METRICS["MetricData"] * 1000}),  # type: ignore[operator]
        ("lambda", "Invoke", {**INVOCATION, "Payload": b"x" * (6 << 20)}),
        ("stepfunctions", "StartExecution", {"stateMachineArn": "arn", "name": "x_-.é" * 16, "input": "x" * 262144}),
    ],
)
def test_requests_that_aws_accepts_are_accepted(service: str, operation: str, request_: dict[str, Any]) -> None:
    check(service, operation, request_)


@pytest.mark.parametrize(
    ("service", "operation", "request_", "message"),
    [
        # Lengths and patterns of strings
        (
            "sagemaker",
            "CreateModelPackage",
            {**PACKAGE, "ClientToken": "x" * 73},
            r"at 'clientToken' .* length less than or equal to 36, not 73",
        ),
        ("sagemaker", "CreateModelPackage", {**PACKAGE, "ClientToken": "a_b"}, r"'a_b' at 'clientToken' .* pattern"),
        ("sagemaker", "CreateModelPackage", {**PACKAGE, "ModelPackageDescription": "a\nb"}, r"'a\\nb' at .* pattern"),
        ("sagemaker", "CreateModelPackage", {**PACKAGE, "ModelPackageDescription": "x" * 1025}, "equal to 1024"),
        ("sagemaker", "CreateTransformJob", {**TRANSFORM, "TransformJobName": "cut-at-"}, "transformJobName.* pattern"),
        ("sagemaker", "CreateTransformJob", {**TRANSFORM, "TransformJobName": "a\n"}, "transformJobName.* pattern"),
        ("stepfunctions", "StartExecution", {"stateMachineArn": "a", "name": "x" * 81}, "less than or equal to 80"),
        # Sizes of blobs, lists and maps
        (
            "sagemaker-runtime",
            "InvokeEndpoint",
            {**PREDICTION, "Body": b"x" * 6291457},
            "less than or equal to 6291456",
        ),
        (
            "sagemaker",
            "CreateModelPackage",
            {**PACKAGE, "InferenceSpecification": {"Containers": [CONTAINER] * 16}},
            r"at 'inferenceSpecification\.containers' .* length less than or equal to 15",
        ),
        (
            "sagemaker",
            "CreateModelPackage",
            {**PACKAGE, "CustomerMetadataProperties": {f"key{n}": "v" for n in range(51)}},
            "less than or equal to 50, not 51",
        ),
        # Below lists, maps and structures
        (
            "sagemaker",
            "CreateModelPackage",
            {**PACKAGE, "InferenceSpecification": {"Containers": [CONTAINER, {**CONTAINER, "Image": "two words"}]}},
            r"at 'inferenceSpecification\.containers\.2\.member\.image'",
        ),
        (
            "sagemaker",
            "CreateModelPackage",
            {**PACKAGE, "CustomerMetadataProperties": {"a\nb": "v"}},
            r"at 'customerMetadataProperties \(key\)'",
        ),
        (
            "sagemaker",
            "CreateModelPackage",
            {**PACKAGE, "CustomerMetadataProperties": {"key": "x" * 257}},
            r"at 'customerMetadataProperties\.key'",
        ),
        # Numbers and enums
        ("sagemaker", "CreateTransformJob", {**TRANSFORM, "MaxConcurrentTransforms": -1}, "valid min value: 0"),
        ("sagemaker", "ListModels", {"MaxResults": 101}, "value less than or equal to 100, not 101"),
        (
            "sagemaker",
            "CreateTransformJob",
            {**TRANSFORM, "TransformResources": {"InstanceType": "ml.none.large", "InstanceCount": 1}},
            r"at 'transformResources\.instanceType' .* enum value set",
        ),
        # What only the documentation says
        ("s3", "GetObject", {"Bucket": "b", "Key": "x" * 1023 + "ü"}, "1024 bytes"),
        ("s3", "PutObject", {**OBJECT, "Metadata": {"k": "x" * 2048}}, "2048 bytes"),
        ("sns", "Publish", {**MESSAGE, "Subject": "x" * 100}, "less than 100 characters"),
        ("sns", "Publish", {**MESSAGE, "Subject": "two\nlines"}, "without line breaks"),
        ("sns", "Publish", {**MESSAGE, "Message": "ü" * 131073}, "262144 bytes"),
        ("ssm", "PutParameter", {**PARAMETER, "Value": "x" * 4097}, "4096 bytes"),
        ("ssm", "PutParameter", {**PARAMETER, "Value": "{{ssm:other}}"}, "nothing in {{}}"),
        ("ssm", "PutParameter", {**PARAMETER, "Name": "/scones/a b"}, "letters, digits"),
        ("ssm", "PutParameter", {**PARAMETER, "Name": "/awsome/name"}, "not begin with aws"),
        ("ssm", "PutParameter", {**PARAMETER, "Name": "/x" * 16}, "at most 15 levels"),
        ("stepfunctions", "StartExecution", {"stateMachineArn": "a", "name": "a:b"}, "'a:b' at 'name'"),
        ("stepfunctions", "StartExecution", {"stateMachineArn": "a", "name": "a b"}, "no whitespace"),
        ("cloudwatch", "PutMetricData", {**METRICS, "MetricData": [{"MetricName": "m"}] * 1001}, "at most 1000"),
        (
            "cloudwatch",
            "PutMetricData",
            {**METRICS, "MetricData": [{"MetricName": "m", "Value": float("nan")}]},
            "finite",
        ),
        ("lambda", "Invoke", {**INVOCATION, "Payload": b"x" * ((6 << 20) + 1)}, "6 MB"),
        # What botocore finds, which stays its own
        ("sns", "Publish", {**MESSAGE, "Subjekt": "S"}, 'Unknown parameter in input: "Subjekt"'),
        ("sns", "Publish", {"TopicArn": "arn"}, 'Missing required parameter in input: "Message"'),
    ],
)
def test_requests_that_aws_refuses_are_refused(
    service: str, operation: str, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParamValidationError, match=message):
        check(service, operation, request_)


def test_an_error_names_the_request_and_its_problem_and_shortens_values() -> None:
    with pytest.raises(strict.RefusedError) as caught:
        check(
            "sagemaker", "CreateModelPackage", {**PACKAGE, "ClientToken": "x" * 5000, "ModelPackageDescription": "\0"}
        )
    assert str(caught.value) == (
        "AWS would refuse sagemaker CreateModelPackage: 2 validation errors detected: "
        "Value 'xxxxxxxxxxxx...xxxxxxxxxxxxx' at 'clientToken' failed to satisfy constraint: "
        "Member must have length less than or equal to 36, not 5000; "
        r"Value '\x00' at 'modelPackageDescription' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: [\p{L}\p{M}\p{Z}\p{S}\p{N}\p{P}]*"
    )


@pytest.mark.parametrize(
    "service",
    [
        *("application-autoscaling", "cloudformation", "cloudwatch", "events", "iam", "kms", "lambda", "logs", "s3"),
        *("sagemaker", "sagemaker-runtime", "service-quotas", "sns", "sqs", "ssm", "stepfunctions", "sts"),
    ],
)
def test_every_pattern_of_the_services_in_use_can_be_read(service: str) -> None:
    model = botocore.session.get_session().get_service_model(service)
    for name in model.shape_names:
        if pattern := model.shape_for(name).metadata.get("pattern"):
            strict._pattern(pattern)


def test_pairs_of_surrogates_in_a_pattern_are_the_characters_beyond_the_basic_plane() -> None:
    pattern = strict._pattern(r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*")
    assert pattern.fullmatch("text \U0001f600")
    assert not pattern.fullmatch("\0")


def test_a_document_is_read_as_a_whole() -> None:
    check("bedrock-runtime", "Converse", {"modelId": "m", "additionalModelRequestFields": {"any": [{"thing": None}]}})


# The requests of state machines


@pytest.mark.parametrize(
    ("resource", "service", "operation"),
    [
        ("arn:aws:states:::sns:publish", "sns", "Publish"),
        ("arn:aws:states:::lambda:invoke.waitForTaskToken", "lambda", "Invoke"),
        ("arn:aws-cn:states:::sagemaker:createTransformJob.sync", "sagemaker", "CreateTransformJob"),
        ("arn:aws:states:::aws-sdk:sagemaker:createModelPackage", "sagemaker", "CreateModelPackage"),
        ("arn:aws:states:::aws-sdk:s3:putObject", "s3", "PutObject"),
    ],
)
def test_a_task_calls_an_operation(resource: str, service: str, operation: str) -> None:
    model, request = strict.task_request(resource, {"Any": "thing"})
    assert (model.service_model.service_name, model.name) == (service, operation)
    assert request == {"Any": "thing"}


@pytest.mark.parametrize("payload", [42, None, True, [], {"a": 1}, "text"])
def test_the_payload_of_an_invocation_is_any_json(payload: Any) -> None:
    model, request = strict.task_request("arn:aws:states:::lambda:invoke", {"FunctionName": "f", "Payload": payload})
    strict.check(model, request)


def test_a_task_sends_json_where_the_service_takes_bytes() -> None:
    _, request = strict.task_request("arn:aws:states:::aws-sdk:s3:putObject", {**OBJECT, "Body": {"half": "\ud83d"}})
    assert request["Body"] == b'{"half": "?"}'


# The hook


def test_every_client_of_a_test_is_strict() -> None:
    client = boto3.Session("unit", "test", region_name="us-east-1").client("sagemaker")
    with pytest.raises(strict.RefusedError, match=r"ListModels.*maxResults"):
        client.list_models(MaxResults=101)
