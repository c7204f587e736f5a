"""A dead-letter queue for events that could not be delivered."""

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.shared.scanner_exceptions import acknowledge


class DeadLetterQueue(sqs.Queue):
    """Keeps events for two weeks, and refuses plain HTTP."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        acknowledge(
            self,
            {
                "AwsSolutions-SQS3 SQSRedrivePolicy": "Is a dead-letter queue itself",
                "CKV_AWS_27": (
                    "Encrypted with SQS's own keys: it holds only object keys, and EventBridge would need access to "
                    "a KMS key"
                ),
            },
        )
