"""Invoke the endpoint for one image, with errors that say whether another attempt can succeed."""

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src.shared import aws
from lambda_src.shared.errors import EndpointMisconfiguredError, EndpointUnavailableError, ImageRefusedError
from lambda_src.shared.item import ImageRef


def invoke_endpoint(data: bytes, endpoint_name: str, image: ImageRef) -> bytes:
    """The body of the endpoint's response for one image.

    Raises EndpointUnavailableError, which another attempt may fix; ImageRefusedError or EndpointMisconfiguredError.
    """
    try:
        response = aws.sagemaker_runtime().invoke_endpoint(
            EndpointName=endpoint_name,
            ContentType="application/x-image",
            Accept="application/json",
            Body=data,
            InferenceId=image.inference_id,
        )
        return response["Body"].read()
    except ClientError as error:
        raise _translate_error(error, endpoint_name, image) from error
    except BotoCoreError as error:
        raise EndpointUnavailableError(f"endpoint {endpoint_name} cannot be reached: {error}") from error


def _translate_error(error: ClientError, endpoint_name: str, image: ImageRef) -> Exception:
    if error.response["Error"]["Code"] == "ModelError":  # the response is the container's, which SageMaker passes on
        status = int(str(error.response.get("OriginalStatusCode", 500)))
        if 400 <= status < 500 and status != 429:
            return ImageRefusedError(f"the model returned {status} for {image.uri}: {error}")
        return EndpointUnavailableError(f"the model behind {endpoint_name} returned {status}: {error}")
    if aws.is_transient(error):
        return EndpointUnavailableError(f"endpoint {endpoint_name} did not respond: {error}")
    return EndpointMisconfiguredError(f"endpoint {endpoint_name} refused the request: {error}")
