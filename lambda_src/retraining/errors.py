"""What can go wrong with a retraining run.

The class names are an interface, as in lambda_src/shared/errors.py: the state machine retries and catches errors by
name.
"""


class RetrainingError(Exception):
    """When a run cannot proceed."""


class InvalidDataSetError(RetrainingError):
    """When the data set in the bucket must not be trained on."""


class EndpointBusyError(RetrainingError):
    """When another update of the endpoint is in progress; a later attempt can succeed."""


class EndpointNotServingError(RetrainingError):
    """When the endpoint does not exist or is not in service."""


class TrainingJobMissingError(RetrainingError):
    """When the training job to release does not exist, or has no model."""


class NoEarlierReleaseError(RetrainingError):
    """When there is no earlier release to roll back to."""


class NotReleasedError(RetrainingError):
    """When a rollback names a model that the endpoint has never served."""


class TransformOutputError(RetrainingError):
    """When Batch Transform has no prediction for a validation image."""


class SmokeTestFailedError(RetrainingError):
    """When the endpoint's predictions differ from those of the released model."""


class GuardContentionError(RetrainingError):
    """When other runs keep changing the run lock; a later attempt can succeed."""
