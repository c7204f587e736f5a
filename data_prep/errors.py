"""What stops a command of data_prep: one line that names the input, the reason and the fix."""


class DataPrepError(Exception):
    """When a command cannot do what was asked."""


class TargetError(DataPrepError):
    """When the shell's settings name more than one region or profile."""


class ArchiveError(DataPrepError):
    """When a file is not a CIFAR-100 archive that can be read safely."""


class DownloadError(DataPrepError):
    """When the archive's host sends something else than the archive."""


class DataSetError(DataPrepError):
    """When a data set folder cannot be built, or is not what its `.lst` files and manifest say."""


class UploadError(DataPrepError):
    """When the bucket does not hold exactly the data set."""


class TrainingError(DataPrepError):
    """When a training job cannot start, or ends without a model."""


class AdoptionError(DataPrepError):
    """When an artifact from elsewhere cannot become the environment's model."""


class InstanceRefusedError(TrainingError):
    """When a training job ended because AWS had no instance of its type."""

    def __init__(self, message: str, *, instance_type: str, reason: str) -> None:
        super().__init__(message)
        self.instance_type = instance_type
        self.reason = reason
