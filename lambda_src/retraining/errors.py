"""What can go wrong with a retraining run.

The class names are an interface, as in lambda_src/shared/errors.py: the state machine retries and catches by them.
"""


class RetrainingError(Exception):
    """When a run cannot go on."""


class InvalidDataSetError(RetrainingError):
    """When the data set in the bucket must not be trained on."""


class EndpointBusyError(RetrainingError):
    """When the endpoint is being updated by somebody else; it can be updated later."""


class EndpointNotServingError(RetrainingError):
    """When there is no endpoint in service that could be improved."""


class TrainingJobMissingError(RetrainingError):
    """When a training job that is to be released does not exist, or has no model."""


class NoEarlierReleaseError(RetrainingError):
    """When there is nothing to roll back to."""


class NotReleasedError(RetrainingError):
    """When a rollback names a model that the endpoint has never served."""


class TransformOutputError(RetrainingError):
    """When Batch Transform has no prediction for a validation image."""


class SmokeTestFailedError(RetrainingError):
    """When the endpoint's predictions are not those of the released model."""


class GuardContentionError(RetrainingError):
    """When other runs keep changing the run lock; a later attempt can succeed."""
