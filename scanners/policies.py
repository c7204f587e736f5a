"""The policies of a synthesized environment with every reference filled in, for a linter or an evaluator."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARTITION, REGION, ACCOUNT = "aws", "us-east-1", "111122223333"
_PSEUDO = {
    "AWS::Partition": PARTITION,
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": "",
}
# ARN by type of resource; `{}` is the resource's logical id
_ARNS = {
    "AWS::Events::Rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{{}}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{}}",
    "AWS::KMS::Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{{}}",
    "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{}}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::Scheduler::Schedule": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{{}}",
    "AWS::SNS::Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{{}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}",
    "AWS::StepFunctions::StateMachine": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{{}}",
}
# A reference to these is the ARN; to others, the name
_REF_IS_ARN = {"AWS::SNS::Topic", "AWS::StepFunctions::StateMachine"}


@dataclass(frozen=True)
class Policy:
    """Statements with plain strings; `owner` is a role's or a resource's construct, without its hash."""

    owner: str
    stack: str
    statements: list[dict[str, Any]]


class Environment:
    """All templates of one environment in a cloud assembly."""

    def __init__(self, assembly: Path, name: str) -> None:
        manifest = json.loads((assembly / f"assembly-{name}" / "manifest.json").read_text())
        self._templates: dict[str, Any] = {
            artifact["properties"]["stackName"]: json.loads(
                (assembly / f"assembly-{name}" / artifact["properties"]["templateFile"]).read_text()
            )
            for artifact in manifest["artifacts"].values()
            if artifact["type"] == "aws:cloudformation:stack"
        }

    @property
    def bootstrap_version(self) -> str:
        """SSM parameter with the version of the `cdk bootstrap` through which the environment is deployed."""
        template = next(iter(self._templates.values()))
        return str(template["Parameters"]["BootstrapVersion"]["Default"])

    def role_policies(self) -> Iterator[Policy]:
        """Policies: one for each pair of role and policy, and one for each policy that people attach."""
        for stack, _, properties in self._resources("AWS::IAM::Policy"):
            statements = self.filled(stack, properties["PolicyDocument"]["Statement"])
            for role in properties["Roles"]:
                yield Policy(role["Ref"][:-8], stack, statements)
        for stack, logical_id, properties in self._resources("AWS::IAM::ManagedPolicy"):
            yield Policy(logical_id[:-8], stack, self.filled(stack, properties["PolicyDocument"]["Statement"]))

    def trust_policies(self) -> Iterator[Policy]:
        """The trust policy of each role."""
        for stack, logical_id, properties in self._resources("AWS::IAM::Role"):
            statements = self.filled(stack, properties["AssumeRolePolicyDocument"]["Statement"])
            yield Policy(logical_id[:-8], stack, statements)

    def resource_policies(self) -> Iterator[Policy]:
        """The resource policies of buckets, topics, queues and keys."""
        for kind, where in (
            ("AWS::S3::BucketPolicy", "PolicyDocument"),
            ("AWS::SNS::TopicPolicy", "PolicyDocument"),
            ("AWS::SQS::QueuePolicy", "PolicyDocument"),
            ("AWS::KMS::Key", "KeyPolicy"),
        ):
            for stack, logical_id, properties in self._resources(kind):
                yield Policy(f"{kind} {logical_id}", stack, self.filled(stack, properties[where]["Statement"]))

    def arns(self, resource_type: str) -> dict[str, str]:
        """ARN of each resource of a type, by its construct without the hash."""
        return {
            logical_id[:-8]: _ARNS[resource_type].format(logical_id)
            for _, logical_id, _ in self._resources(resource_type)
        }

    def resources(self, resource_type: str, *members: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Logical id of each resource of a type, and these of its properties without references."""
        for stack, logical_id, properties in self._resources(resource_type):
            yield logical_id, {name: self.filled(stack, properties[name]) for name in members if name in properties}

    def filled(self, stack: str, value: Any) -> Any:
        """The value without references; raises ValueError for an unsupported intrinsic function."""
        if isinstance(value, list):
            return [self.filled(stack, item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref":
                return _PSEUDO.get(argument) or self._reference(stack, argument)
            if function == "Fn::Sub":
                return re.sub(r"\$\{([^}]+)\}", lambda name: _PSEUDO[name[1]], argument)
            if function.startswith("Fn::"):
                return self._intrinsic(stack, function, argument)
        return {key: self.filled(stack, item) for key, item in value.items()}

    def _intrinsic(self, stack: str, function: str, argument: Any) -> Any:
        if function == "Fn::Join":
            return argument[0].join(map(str, self.filled(stack, argument[1])))
        if function == "Fn::Select":
            return self.filled(stack, argument[1])[int(argument[0])]
        if function == "Fn::Split":
            return self.filled(stack, argument[1]).split(argument[0])
        if function == "Fn::FindInMap":
            name, key, member = self.filled(stack, argument)
            return self._templates[stack]["Mappings"][name][key][member]
        if function == "Fn::ImportValue":
            exporter, _, output = argument.partition(":")
            return self.filled(exporter, self._templates[exporter]["Outputs"][output]["Value"])
        if function == "Fn::GetAtt":
            logical_id, attribute = argument
            kind = self._templates[stack]["Resources"][logical_id]["Type"]
            return _ARNS[kind].format(logical_id) if attribute in {"Arn", "TopicArn"} else logical_id
        raise ValueError(f"{stack}: {function} in a policy is not known to {__name__}")

    def _reference(self, stack: str, logical_id: str) -> str:
        template = self._templates[stack]
        if logical_id in template.get("Parameters", {}):
            return str(template["Parameters"][logical_id].get("Default", logical_id))
        kind = template["Resources"][logical_id]["Type"]
        return _ARNS[kind].format(logical_id) if kind in _REF_IS_ARN else logical_id

    def _resources(self, resource_type: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for stack, template in self._templates.items():
            for logical_id, resource in template["Resources"].items():
                if resource["Type"] == resource_type:
                    yield stack, logical_id, resource["Properties"]
