"""The rules of CDK's own validation, which `cdk synth` applies to each template."""

from collections.abc import Iterable
from pathlib import Path

import jsii
from aws_cdk import App, CloudFormationValidatePlugin, IPolicyValidationContext, PolicyValidationStack
from constructs import IConstruct


def violations(templates: Iterable[Path]) -> list[str]:
    """CDK's findings in these templates, each with its files."""
    report = CloudFormationValidatePlugin().validate(_Templates([str(path) for path in templates]))
    return [
        f"{found.rule_name} {found.description}: {[resource.template_path for resource in found.violating_resources]}"
        for found in report.violations
    ]


@jsii.implements(IPolicyValidationContext)
class _Templates:
    account_id = region = None  # the templates fit any account and region

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths
        self._app = App()

    @property
    def app_construct(self) -> IConstruct:
        return self._app

    @property
    def template_paths(self) -> list[str]:
        return self._paths

    @property
    def stack_templates(self) -> list[PolicyValidationStack]:
        return [PolicyValidationStack(stack_construct_path=path, template_path=path) for path in self._paths]
