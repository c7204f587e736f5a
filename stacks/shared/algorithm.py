"""The algorithm that is trained and served: SageMaker's built-in Image Classification."""

ALGORITHM = "image-classification:1"  # repository and tag of the container image, the same in every region
CONTENT_TYPE = "application/x-image"
