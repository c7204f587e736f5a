"""A state machine as every stack has it: a definition file, a role with explicit grants, logs and traces."""

import json
from collections.abc import Mapping, Sequence

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.shared.definition import PLACEHOLDER, Definition, on_one_line
from stacks.shared.log_group import LogGroup


class StateMachine(sfn.StateMachine):
    """CDK does not read a definition file: every grant beyond logs, traces and the functions is the stack's to make."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        definition: Definition,
        functions: Mapping[str, lambda_.IFunction],
        substitutions: Mapping[str, str],
        name: str,
        log_level: sfn.LogLevel = sfn.LogLevel.ALL,
        log_execution_data: bool = False,
        role: iam.IRole | None = None,
    ) -> None:
        """name: also of its log group.

        functions: that the definition invokes as `${Name}Arn`, and the role may invoke.

        substitutions: of the other placeholders that `read_definition` left. Raises ValueError where they differ.
        """
        # The tools of Step Functions know an integration by its ARN in this partition. The reference in the text also
        # keeps cfn-lint from judging the placeholders; the tests validate what Step Functions gets
        text = json.dumps(on_one_line(definition)).replace("arn:aws:states:::", f"arn:{Aws.PARTITION}:states:::")
        substitutions = {
            **{f"{step}Arn": function.function_arn for step, function in functions.items()},
            **substitutions,
        }
        if differing := set(PLACEHOLDER.findall(text)) ^ set(substitutions):
            raise ValueError(f"{construct_id}: placeholders and substitutions differ in {', '.join(sorted(differing))}")
        self.log_group = LogGroup(scope, f"{construct_id}Logs", config=config, state_machine=name)
        super().__init__(
            scope,
            construct_id,
            state_machine_name=name,
            definition_body=sfn.DefinitionBody.from_string(text),
            definition_substitutions=substitutions,
            role=role,
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=self.log_group,
                level=log_level,
                include_execution_data=log_execution_data,
            ),
        )

        if functions:
            self.allow(["lambda:InvokeFunction"], [function.function_arn for function in functions.values()])

    def allow(self, actions: Sequence[str], resources: Sequence[str]) -> None:
        self.add_to_role_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources)))
