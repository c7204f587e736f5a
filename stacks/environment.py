"""One environment: creates its stacks and passes resources between them."""

from aws_cdk import App, PermissionsBoundary, Stage, Tags
from constructs import Construct

from stacks.bulk.bulk_stack import BulkStack
from stacks.classification.workflow_stack import WorkflowStack
from stacks.config import EnvironmentConfig, parse_environments
from stacks.console.console_stack import ConsoleStack
from stacks.data.data_stack import DataStack
from stacks.delivery.deploy_role_stack import DeployRoleStack
from stacks.model.model_stack import ModelStack
from stacks.monitoring.metrics import Monitored
from stacks.monitoring.monitoring_stack import MonitoringStack
from stacks.retraining.retraining_stack import RetrainingStack
from stacks.shared.encryption import encrypt
from stacks.shared.scanner_exceptions import acknowledge


def add_environments(app: App) -> None:
    """Create the stages of the context's `environments`, or the one that its `only` names. Raises ConfigError."""
    environments, only = map(app.node.try_get_context, ("environments", "only"))
    for config in parse_environments(environments, only=only):
        Environment(app, config=config)


class Environment(Stage):
    """`cdk deploy "dev/*"` deploys the environment `dev`."""

    def __init__(self, scope: Construct, *, config: EnvironmentConfig) -> None:
        super().__init__(
            scope,
            config.name,
            stage_name=config.stage_name,
            permissions_boundary=PermissionsBoundary.from_name(config.boundary_name) if config.boundary_name else None,
        )
        self.node.set_context("@aws-cdk/core:bootstrapQualifier", config.qualifier)
        data = DataStack(self, "Data", config=config)
        model = ModelStack(
            self,
            "Model",
            config=config,
            bucket=data.bucket,
            sagemaker_role=data.sagemaker_role,
            alert_topic=data.alert_topic,
        )
        workflow = WorkflowStack(self, "Workflow", config=config, bucket=data.bucket, alert_topic=data.alert_topic)
        workflow.add_stack_dependency(model)  # an upload must not arrive before the endpoint
        retraining = RetrainingStack(
            self,
            "Retraining",
            config=config,
            bucket=data.bucket,
            alert_topic=data.alert_topic,
            sagemaker_role=data.sagemaker_role,
        )
        retraining.add_stack_dependency(model)  # there must be an endpoint to improve
        bulk = BulkStack(
            self, "Bulk", config=config, bucket=data.bucket, alert_topic=data.alert_topic, steps=workflow.steps
        )
        bulk.add_stack_dependency(model)  # Batch Transform uses the model that the endpoint serves
        monitored = _monitored(workflow, model, retraining, bulk)
        MonitoringStack(
            self, "Monitoring", config=config, bucket=data.bucket, alert_topic=data.alert_topic, monitored=monitored
        )
        ConsoleStack(self, "Console", config=config, bucket=data.bucket)
        if config.github_repository:
            DeployRoleStack(
                self,
                "DeployRole",
                config=config,
                repository=config.github_repository,
                bucket=data.bucket,
                alert_topic=data.alert_topic,
                sagemaker_role=data.sagemaker_role,
                state_machine=workflow.state_machine,
            )
        if data.key:
            encrypt(self, key=data.key)
        acknowledge(
            self,
            {
                "IAMNoInlinePolicy": (
                    "Each inline policy belongs to one role and is deleted with it; a managed one could be attached to "
                    "others"
                )
            },
        )
        Tags.of(self).add("application", "scones-unlimited")
        Tags.of(self).add("environment", config.name)


def _monitored(workflow: WorkflowStack, model: ModelStack, retraining: RetrainingStack, bulk: BulkStack) -> Monitored:
    return Monitored(
        functions=workflow.functions,
        prediction_log=workflow.prediction_log,
        workflow=workflow.state_machine,
        workflow_log_group=workflow.state_machine_log_group,
        interruptible=[retraining.state_machine, *bulk.state_machines, *model.state_machines],
        dead_letters={
            "undelivered-releases": model.dead_letters,
            "undelivered-events": workflow.dead_letters,
            "undelivered-retraining": retraining.dead_letters,
            **({"undelivered-bulk": bulk.dead_letters} if bulk.is_scheduled else {}),
        },
    )
