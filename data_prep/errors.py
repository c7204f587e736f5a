"""The errors of data_prep's commands. Each message is one line with the input, the reason and the fix."""


class DataPrepError(Exception):
    """When a command cannot do what was asked."""


class TargetError(DataPrepError):
    """When the shell's settings name more than one region or profile."""


class ArchiveError(DataPrepError):
    """When a file is not a CIFAR-100 archive that can be read safely."""


class DownloadError(DataPrepError):
    """When the archive cannot be downloaded, or the host sends something else."""


class DataSetError(DataPrepError):
    """When a data set folder cannot be built, or is not what its `.lst` files and manifest say."""


class UploadError(DataPrepError):
    """When the bucket cannot be made to hold exactly the data set."""


class TrainingError(DataPrepError):
    """When a training job cannot start, or ends without a model."""


class AdoptionError(DataPrepError):
    """When an artifact from elsewhere cannot become the environment's model."""


class InstanceRefusedError(TrainingError):
    """When a training job failed because its instance type is not available."""

    def __init__(self, message: str, *, instance_type: str, reason: str) -> None:
        super().__init__(message)
        self.instance_type = instance_type
        self.reason = reason
