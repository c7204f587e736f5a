"""The templates of cdk.json's environments, synthesized once, and helpers that read them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local import adapters
from stacks.config import MAX_BOUNDED_NAME
from tests.conftest import LONGEST_NAME, context_with, made_once

# As in the local cloud: here, too, the expressions of the state machines are evaluated many times
adapters.parse_expressions_once()

LONGEST_BOUNDED_NAME = "b" * MAX_BOUNDED_NAME
Resource = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """One stack's template."""

    path: Path
    content: dict[str, Any]

    def resources(self, resource_type: str) -> dict[str, Resource]:
        """Properties by logical id."""
        return {
            logical_id: resource.get("Properties", {})
            for logical_id, resource in self.content["Resources"].items()
            if resource["Type"] == resource_type
        }

    def only(self, resource_type: str) -> Resource:
        found = list(self.resources(resource_type).values())
        assert len(found) == 1, f"{len(found)} x {resource_type}"
        return found[0]

    def named(self, resource_type: str, name: str) -> Resource:
        """Properties of the one resource of this type whose construct is called `name`."""
        found = [value for key, value in self.resources(resource_type).items() if key[:-8] == name or key == name]
        assert len(found) == 1, f"{len(found)} x {resource_type} called {name}"
        return found[0]

    def statements(self, role: str) -> list[dict[str, Any]]:
        """All policy statements of the role whose construct is called `role`.

        Without the use of the key: it follows from the others (test_encryption.py).
        """
        (logical_id,) = [key for key in self.resources("AWS::IAM::Role") if key[:-8] == role]
        return [
            statement
            for policy in self.resources("AWS::IAM::Policy").values()
            if {"Ref": logical_id} in policy["Roles"]
            for statement in policy["PolicyDocument"]["Statement"]
            if not statement.get("Sid", "").startswith("UseKeyFor")
        ]


def text(value: Any, reference: Callable[[str], str] = "<{}>".format) -> str:
    """A rendered value as one string. reference: renders a reference, by default as its name in angle brackets."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(text(item, reference) for item in value)
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(text(part, reference) for part in parts)
    if "Fn::ImportValue" in value:
        return reference(value["Fn::ImportValue"].partition(":")[2])
    if "Fn::GetAtt" in value:
        return reference(".".join(value["Fn::GetAtt"]))
    return reference(str(value.get("Ref", value)))


def definition_of(state_machine: Resource, reference: Callable[[str], str] = "<{}>".format) -> dict[str, Any]:
    """The definition in a state machine's properties, after substitution."""
    rendered = text(state_machine["DefinitionString"], reference)
    for name, value in state_machine.get("DefinitionSubstitutions", {}).items():
        assert f"${{{name}}}" in rendered, f"a substitution without a placeholder: {name}"
        rendered = rendered.replace(f"${{{name}}}", text(value, reference))
    assert "${" not in rendered, "a placeholder without a substitution"
    parsed: dict[str, Any] = json.loads(rendered)
    return parsed


@pytest.fixture(scope="session", params=["dev", "prod"])
def environment(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def template_of(assembly: Path, environment: str, stack: str) -> Template:
    (path,) = (assembly / f"assembly-{environment}").glob(f"{environment.replace('-', '')}{stack}*.template.json")
    return Template(path, json.loads(path.read_text()))


# Environments with all settings that add resources, and with settings that exclude some; dev of cdk.json has none. Add
# the setting that a test needs to one of these, because each environment takes seconds to synthesize
VARIANTS: dict[str, dict[str, Any]] = {
    "serverless": {
        "classes": ["bus", "streetcar", "pickup_truck"],
        "endpoint": {"kind": "serverless"},
        "alert_email": "ops@example.com",
        "schedule": {"expression": "cron(0 6 * * ? *)"},
        "retraining": {"enabled": False},
    },
    # Deployed from GitHub, with the longest name that is allowed then
    LONGEST_BOUNDED_NAME: {
        "github_repository": "owner@1234/name@5678",
        "bootstrap_qualifier": "github",
        "customer_managed_key": True,
        "endpoint": {"hours": "mon-fri 22:00-06:00 Europe/Berlin"},
        "training": {"algorithm": "scikit-learn", "instance_types": ["ml.m5.large", "ml.c5.xlarge"]},
        "schedule": {"expression": "rate(1 day)", "workflow": "batch-transform"},
    },
    # All settings that add resources, with the longest name and the longest waits
    LONGEST_NAME: {
        "endpoint": {"instance_count": 2, "max_instance_count": 4},
        "alert_email": "ops@example.com",
        "customer_managed_key": True,
        "access_logging": True,
        "function_concurrency": 20,
        "image_sources": ["s3://sagemaker-us-east-1-111122223333/data/test/", "s3://pictures/", "train/"],
        "training": {"max_runtime_minutes": 5 * 24 * 60, "spot": True},
        "schedule": {"expression": "rate(1 day)", "workflow": "distributed-map"},
        "retraining": {"schedule": "rate(7 days)", "approval": True, "approval_hours": 14 * 24},
        "monitoring": {"monthly_budget_usd": 100},
        "permissions_boundary": "company/developers",
    },
}
# The same, deployed from GitHub, with its own boundary
VARIANTS["dev"] = {
    **{name: value for name, value in VARIANTS[LONGEST_NAME].items() if name != "permissions_boundary"},
    "github_repository": "owner/name",
    "bootstrap_qualifier": "own",
}


@pytest.fixture(scope="session")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cloud assembly of the environments of VARIANTS."""
    return made_once(tmp_path_factory, "variants", synthesize_variants)


def synthesize_variants(output: Path) -> None:
    """In this process: usually the scanners' (tests/conftest.py), in which CDK starts once for all that they do."""
    from aws_cdk import App  # noqa: PLC0415 - it starts Node

    from stacks.environment import add_environments  # noqa: PLC0415

    app = App(context=context_with(VARIANTS), outdir=str(output))
    add_environments(app)
    app.synth()


@pytest.fixture(scope="session")
def extended_workflow(variants: Path) -> Template:
    """The workflow stack of the environment with every setting that adds something."""
    return template_of(variants, LONGEST_NAME, "Workflow")


@pytest.fixture(scope="session")
def data(assembly: Path, environment: str) -> Template:
    return template_of(assembly, environment, "Data")


@pytest.fixture(scope="session")
def model(assembly: Path, environment: str) -> Template:
    return template_of(assembly, environment, "Model")


@pytest.fixture(scope="session")
def workflow(assembly: Path, environment: str) -> Template:
    return template_of(assembly, environment, "Workflow")


@pytest.fixture(scope="session")
def bulk(assembly: Path, environment: str) -> Template:
    return template_of(assembly, environment, "Bulk")


@pytest.fixture(scope="session")
def monitoring(assembly: Path, environment: str) -> Template:
    return template_of(assembly, environment, "Monitoring")


@pytest.fixture(scope="session")
def retraining(assembly: Path, environment: str) -> Template:
    return template_of(assembly, environment, "Retraining")


@pytest.fixture(scope="session")
def definition(workflow: Template) -> dict[str, Any]:
    """The state machine's definition, with references in angle brackets."""
    return definition_of(workflow.only("AWS::StepFunctions::StateMachine"))


def definitions_of(assembly: Path, environment: str) -> list[dict[str, Any]]:
    """The definitions of all state machines of an environment."""
    return [
        definition_of(machine)
        for path in sorted((assembly / f"assembly-{environment}").glob("*.template.json"))
        for machine in Template(path, json.loads(path.read_text()))
        .resources("AWS::StepFunctions::StateMachine")
        .values()
    ]


@pytest.fixture(scope="session")
def definitions(assembly: Path, environment: str) -> list[dict[str, Any]]:
    return definitions_of(assembly, environment)
