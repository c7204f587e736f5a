"""What can go wrong with one image.

The class names are an interface: Step Functions retries and catches by them, manifests and alerts show them.
Only the two `...UnavailableError` can succeed on a later attempt, so only they are retried.
"""

from lambda_src.shared.text import shortened

# A longer Cause may be cut off by Step Functions in the middle of its JSON, which then cannot be read back
MAX_MESSAGE_CHARACTERS = 2_000


class ImageError(Exception):
    """When one image cannot become a stored prediction. A message that quotes others is cut to a bounded length."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, MAX_MESSAGE_CHARACTERS))


class InvalidInputError(ImageError):
    """When the input does not name an image, or a step lacks what the step before it adds."""


class ImageNotFoundError(ImageError):
    """When there is no such object, or no such version of it."""


class ImageAccessDeniedError(ImageError):
    """When the function may not read the object, such as one outside the image prefixes."""


class ImageTooLargeError(ImageError):
    """When the image does not fit through the workflow's state, or unpacks to too many pixels."""


class CorruptImageError(ImageError):
    """When the bytes are not one whole PNG or JPEG image."""


class ImageRefusedError(ImageError):
    """When the model container refuses this image (4xx)."""


class InvalidPredictionError(ImageError):
    """When the model's response is not one probability per class."""


class EndpointMisconfiguredError(ImageError):
    """When SageMaker refuses the call itself: no such endpoint, no permission."""


class EndpointPausedError(ImageError):
    """When the endpoint is paused, and the image is in another bucket, of which no list is kept: start it again."""


class WaitingForEndpointError(ImageError):
    """When the endpoint is paused: the image is on the list of those that are classified when it is resumed."""


class EndpointUnavailableError(ImageError):
    """When the endpoint is slow, throttled, unreachable or returns 5xx; a later attempt can succeed."""


class LowConfidenceError(ImageError):
    """When the most likely class is less likely than the confidence threshold."""


class PredictionNotStoredError(ImageError):
    """When the bucket refuses the prediction."""


class PredictionDiffersError(ImageError):
    """When this version of the image has a prediction with another label, such as one of a model before this one."""


class StorageUnavailableError(ImageError):
    """When S3 is slow, throttled or unreachable; a later attempt can succeed."""


class ImageChangedError(ImageError):
    """When the image was written after a Batch Transform run began: the prediction may be of an earlier version."""


class ManifestExistsError(ImageError):
    """When another execution has written the manifest that a run is about to write: names may be chosen, and reused."""


class NotTransformedError(ImageError):
    """When a Batch Transform job ended without a prediction for the image."""
