"""What can go wrong with one image.

The class names are an interface: Step Functions retries and catches errors by name, and manifests and alerts show the
names. Only the two `...UnavailableError` are retried, because only there can a later attempt succeed.
"""

from lambda_src.shared.text import shortened

# Step Functions may cut off a longer Cause in the middle of its JSON, which then cannot be parsed
MAX_MESSAGE_CHARACTERS = 2_000


class ImageError(Exception):
    """When no prediction can be stored for an image. A long message is shortened."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, MAX_MESSAGE_CHARACTERS))


class InvalidInputError(ImageError):
    """When the input does not name an image, or does not have what the previous step adds."""


class ImageNotFoundError(ImageError):
    """When there is no such object, or no such version of it."""


class ImageAccessDeniedError(ImageError):
    """When the function may not read the object, such as one outside the image prefixes."""


class ImageTooLargeError(ImageError):
    """When the image does not fit into a state's input, or has too many pixels."""


class CorruptImageError(ImageError):
    """When the bytes are not one complete PNG or JPEG image."""


class ImageRefusedError(ImageError):
    """When the model container refuses this image (4xx)."""


class InvalidPredictionError(ImageError):
    """When the model's response is not one probability per class."""


class EndpointMisconfiguredError(ImageError):
    """When SageMaker refuses the call itself: no such endpoint, no permission."""


class EndpointPausedError(ImageError):
    """When the endpoint is paused and the image is in another bucket, whose images cannot wait: start it again."""


class WaitingForEndpointError(ImageError):
    """When the endpoint is paused: the image is recorded, and is classified when the endpoint is resumed."""


class EndpointUnavailableError(ImageError):
    """When the endpoint is slow, throttled, unreachable or returns 5xx; a later attempt can succeed."""


class LowConfidenceError(ImageError):
    """When the probability of the most likely class is below the confidence threshold."""


class PredictionNotStoredError(ImageError):
    """When the bucket refuses the prediction."""


class PredictionDiffersError(ImageError):
    """When a prediction with another label is stored for this version of the image, perhaps by an earlier model."""


class StorageUnavailableError(ImageError):
    """When S3 is slow, throttled or unreachable; a later attempt can succeed."""


class ImageChangedError(ImageError):
    """When the image changed after a Batch Transform run began: the prediction may be for an earlier version."""


class ManifestExistsError(ImageError):
    """When another execution of the same name has already written the manifest; callers may choose and reuse names."""


class NotTransformedError(ImageError):
    """When a Batch Transform job ended without a prediction for the image."""
