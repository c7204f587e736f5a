"""Acknowledges findings of security scanners, each on its construct and with its reason.

cdk-nag and checkov read the acknowledgments from the constructs, and do not report these findings. The wildcards that
policies may contain are listed here.
"""

import re
from collections.abc import Mapping

from aws_cdk import Acknowledgment, CfnResource, Validations
from constructs import IConstruct

# Resources with a wildcard that policies may name: a pattern of the whole resource, and why it cannot be narrower
WILDCARDS = {
    r"\*": "Only for the actions in UNSCOPABLE_ACTIONS, which have no resource-level permissions",
    r".*/(train(/reviewed)?|train_lst|test(/reviewed)?|test_lst|incoming|scheduled|bulk|models|transforms|predictions|manifests|releases"
    r"|retraining|waiting|data-capture(/scones-[a-z0-9-]+)?|monitoring/[a-z]+|ground-truth(/reviews)?)/\*": (
        "All objects below one prefix of this bucket: their names are not known beforehand"
    ),
    r".*/(models|retraining)/\*/[a-z_-]+\.(json|manifest)": (
        "One file beside each model or run: the jobs' names are not known beforehand"
    ),
    r".*/(models|retraining)/\*/((output|checkpoints|candidate|incumbent)/\*|\*\.out)": (
        "What a job wrote, and the predictions for a run's images: jobs, runs and images are not known beforehand"
    ),
    r".*/bulk/\*\.manifest": "Lists in SageMaker's form: their names are not known beforehand",
    r".*:log-group:/aws/sagemaker/(TrainingJobs|TransformJobs|Endpoints/scones-[^/:]+):\*": (
        "SageMaker names its log streams after jobs and instances of the future"
    ),
    r".*:sagemaker:.*:[a-z-]+/scones-[a-z0-9-]+[-/]\*": "Jobs and models of this environment: named as they are made",
    r".*:sagemaker:.*:(endpoint-config|model)/\*": (
        "What the endpoint serves may be CloudFormation's, which chooses the name; it is looked at or served again"
    ),
    r".*:states:.*:execution:.*\*": "Executions of this one state machine, which name themselves as they start",
    r"<[A-Za-z0-9]+\.Arn>:\*": "All versions of this one function, as CDK grants an invocation",
    r".*:role/cdk-[a-z0-9]+-[a-z-]+-role-\*": "The roles of `cdk bootstrap`, whose names end in account and region",
    r".*:cloudformation:.*:stack/scones-[a-z0-9-]+-Model/\*": "This environment's model stack, with the id it is given",
    r".*:cloudformation:.*:stack/scones-[a-z0-9-]+-\*/\*": "This environment's stacks, with the ids they are given",
    r".*:cloudwatch:.*:alarm:scones-[a-z0-9-]+-\*": "This environment's alarms",
    r".*:parameter/(cdk-bootstrap/[a-z0-9]+|scones/[a-z0-9-]+)/\*": (
        "This environment's parameters, and that of `cdk bootstrap`"
    ),
}
# Actions without resource-level permissions, according to the Service Authorization Reference
UNSCOPABLE_ACTIONS = frozenset(
    {
        "cloudwatch:PutMetricData",
        "ecr:GetAuthorizationToken",
        "logs:CreateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:DescribeLogGroups",
        "logs:DescribeResourcePolicies",
        "logs:GetLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:UpdateLogDelivery",
        "cloudformation:DescribeStacks",
        "lambda:GetAccountSettings",
        # It may name packages, which a listing by their group does not
        "sagemaker:ListModelPackages",
        "sagemaker:ListTrainingJobs",
        "servicequotas:ListAWSDefaultServiceQuotas",
        "servicequotas:ListServiceQuotas",
        "xray:GetSamplingRules",
        "xray:GetSamplingTargets",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }
)

# Packs of cdk-nag that have the same rules under the same names, each for its own standard
SHARED_RULES = ("NIST.800.53.R5", "HIPAA.Security", "PCI.DSS.321", "Serverless")


def acknowledge(construct: IConstruct, exceptions: Mapping[str, str]) -> None:
    """Acknowledge the findings of rules on the construct and everything inside it; once for a construct.

    exceptions: the reason for one rule, or for several, separated by spaces. A rule CKV_... is checkov's, and
    AwsSolutions-... is of the cdk-nag pack of that name. Any other name is a rule that the packs in SHARED_RULES have
    in common.
    """
    rules = [(rule, reason) for names, reason in exceptions.items() for rule in names.split()]
    acknowledgments = [
        Acknowledgment(id=name, reason=reason)
        for rule, reason in rules
        if not rule.startswith("CKV_")
        for name in ([rule] if "-" in rule else [f"{pack}-{rule}" for pack in SHARED_RULES])
    ]
    skipped = [{"id": rule, "comment": reason} for rule, reason in rules if rule.startswith("CKV_")]
    if acknowledgments:
        Validations.of(construct).acknowledge(*acknowledgments)
    if skipped:
        resource = construct if isinstance(construct, CfnResource) else construct.node.default_child
        if not isinstance(resource, CfnResource):
            raise TypeError(f"{construct.node.path} is not a resource, so it cannot carry a checkov acknowledgment")
        resource.add_metadata("checkov", {"skip": skipped})


def wildcard_reason(resource: str) -> str | None:
    """Why a policy may name this resource with its wildcard; None if there is no reason."""
    for pattern, reason in WILDCARDS.items():
        if re.fullmatch(pattern, resource):
            return reason
    return None
