"""Findings of security scanners that this project accepts: each where it arises, with its reason.

cdk-nag and checkov read the reasons from the constructs; an accepted finding is not reported again. Wildcards in
policies are all listed here.
"""

import re

from aws_cdk import Acknowledgment, CfnResource, Validations
from constructs import IConstruct

# What `*` stands for in a policy's resources, by a pattern over the whole resource, and why no narrower name will do
WILDCARDS = {
    r"\*": "Only for the actions in UNSCOPABLE_ACTIONS, which the service does not tie to a resource",
    r".*/(train|train_lst|test|test_lst|incoming|scheduled|bulk|models|transforms|predictions|manifests"
    r"|data-capture(/scones-[a-z0-9-]+)?|monitoring/[a-z]+|ground-truth|retraining)/\*": (
        "All objects below one prefix of this bucket: their names are not known beforehand"
    ),
    r".*/models/\*/[a-z-]+\.json": "One file beside each model: the jobs' names are not known beforehand",
    r".*:log-group:/aws/sagemaker/(TrainingJobs|TransformJobs|Endpoints/[^/]+/Data)\*": (
        "SageMaker names its log groups and streams after jobs and endpoints of the future"
    ),
    r".*:(training|transform)-job/scones-[a-z0-9-]+-\*": "Jobs of this environment: their names are made as they start",
    r".*:states:.*:execution:.*\*": "Executions of this one state machine, which name themselves as they start",
    r"<[A-Za-z0-9]+\.Arn>:\*": "All versions of this one function, as CDK grants an invocation",
}
# The service has no resource-level permissions for these, see the Service Authorization Reference
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
        "xray:GetSamplingRules",
        "xray:GetSamplingTargets",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }
)


def accept(construct: IConstruct, reason: str, *rules: str) -> None:
    """Leave these rules' findings on the construct, and on what is inside of it, out of the scanners' reports.

    Rules called CKV_... are checkov's, those in capitals parliament's, all others cdk-nag's.
    """
    for rule in rules:
        if not rule.isupper():
            Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))
    in_template = [{"id": rule, "comment": reason} for rule in rules if rule.isupper()]
    resource = construct if isinstance(construct, CfnResource) else construct.node.default_child
    if in_template:
        if not isinstance(resource, CfnResource):
            raise TypeError(f"{construct.node.path} is no resource that could carry a reason")
        # checkov's own name for it; scanners/templates.py reads it for parliament
        known = (resource.get_metadata("checkov") or {"skip": []})["skip"]
        resource.add_metadata("checkov", {"skip": [*known, *in_template]})


def wildcard_reason(resource: str) -> str | None:
    """Why a policy may name this resource, of which a part is `*`; None if nobody has said."""
    for pattern, reason in WILDCARDS.items():
        if re.fullmatch(pattern, resource):
            return reason
    return None
