"""A state machine from a definition file, with a role whose grants are explicit, with logs and traces."""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.shared.definition import Definition, check_substitutions, on_one_line
from stacks.shared.log_group import LogGroup


class StateMachine(sfn.StateMachine):
    """May write logs and traces and invoke its functions. The stack grants the rest, as CDK cannot."""

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
        log: Literal["errors", "events", "events and data"] = "events",
        role: iam.IRole | None = None,
    ) -> None:
        """name: of the state machine and, with the stack's id, of its log group.

        functions: the functions that the definition invokes as `${Name}Arn`; the role may invoke them.

        substitutions: values of the other placeholders that `read_definition` left; raises ValueError if any is missing
        or unknown.

        log: what is written to the log group; "events and data" includes the input and output of each state.
        """
        # The files have the ARNs of integrations in the partition `aws`, where Step Functions' tools recognize them.
        # The reference also stops cfn-lint from checking the placeholders; the tests check the rendered definition.
        text = json.dumps(on_one_line(definition)).replace("arn:aws:states:::", f"arn:{Aws.PARTITION}:states:::")
        substitutions = {
            **{f"{step}Arn": function.function_arn for step, function in functions.items()},
            **substitutions,
        }
        check_substitutions(construct_id, text, substitutions)
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
                level=sfn.LogLevel.ERROR if log == "errors" else sfn.LogLevel.ALL,
                include_execution_data=log == "events and data",
            ),
        )

        if functions:
            self.allow(["lambda:InvokeFunction"], [function.function_arn for function in functions.values()])

    def allow(self, actions: Sequence[str], resources: Sequence[str]) -> None:
        self.add_to_role_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources)))
