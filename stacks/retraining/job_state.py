"""A SageMaker job as a state of a workflow, followed to its end."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import Aws
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct


class JobState(sfn.CustomState):
    """Creates a job and waits for it; its output is its input."""

    def __init__(self, scope: Construct, construct_id: str, *, operation: str, request: Mapping[str, Any]) -> None:
        """operation: such as `createTrainingJob`; request: its request, in which strings may be expressions."""
        super().__init__(
            scope,
            construct_id,
            state_json={
                "Type": "Task",
                "Resource": f"arn:{Aws.PARTITION}:states:::sagemaker:{operation}.sync",
                "Arguments": request,
                "Output": "{% $states.input %}",
            },
        )
        self._caught = ""

    def catch(self, handler: sfn.IChainable, *, outputs: str) -> None:
        """Go on with `handler` whatever fails, and hand it the expression `outputs`."""
        self.add_catch(handler)
        self._caught = outputs

    def to_state_json(self, query_language: sfn.QueryLanguage | None = None) -> Any:
        """CDK's own CustomState renders a catcher without its outputs, so the next state would get the error alone."""
        state = super().to_state_json(query_language)
        for catcher in state.get("Catch", []):
            catcher["Output"] = self._caught
        return state
