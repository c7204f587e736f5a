"""Reads the output of a Batch Transform job for one image. AWS documents its key and its content in two ways each.

The key is S3OutputPath, a path and `.out`. The path is either the image's key below the input's prefix, according to
https://docs.aws.amazon.com/sagemaker/latest/dg/API_TransformOutput.html and to SageMaker's SDK in local mode, or the
whole key, according to https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TransformOutput.html.

The content is `{"prediction": [...]}` for application/jsonlines and the bare list for application/json, according to
https://docs.aws.amazon.com/sagemaker/latest/dg/image-classification.html#IC-inputoutput.
"""

import json
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import ClientError

from lambda_src.shared.errors import InvalidPredictionError
from lambda_src.shared.json_reader import parse_json
from lambda_src.shared.predictions import parse_probabilities


def output_keys(output: str, *, image_key: str, input_prefix: str) -> list[str]:
    """The keys under which a job with these prefixes may have written an image's output, the most likely first."""
    paths = (image_key.removeprefix(input_prefix), image_key)
    return [f"{output}{path}.out" for path in dict.fromkeys(paths)]


def read_output(s3: Any, bucket: str, keys: Iterable[str]) -> bytes | None:
    """The first of these objects that exists, or None, read with the given S3 client. Raises ClientError."""
    for key in keys:
        try:
            body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
        else:
            return body
    return None


def parse_output(body: bytes, classes: tuple[str, ...]) -> list[float]:
    """The probabilities for one image, in label order; raises InvalidPredictionError."""
    try:
        content = parse_json(body)
    except ValueError as error:
        raise InvalidPredictionError(
            f'Batch Transform must write one {{"prediction": [...]}} for an image, not {body[:60]!r}'
        ) from error
    if isinstance(content, dict):
        content = content.get("prediction")
    return parse_probabilities(json.dumps(content), classes)
