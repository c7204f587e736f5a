"""An environment that trains with scikit-learn: its requests to SageMaker, and who may upload its code."""

from pathlib import Path
from typing import Any

import pytest

from local.permissions import Permission
from stacks.config import parse_environment
from stacks.shared.algorithm import SCIKIT_LEARN
from stacks.shared.hyperparameters import hyperparameters
from stacks.shared.model_code import code_prefix
from tests.infrastructure.conftest import LONGEST_BOUNDED_NAME, definition_of, template_of
from tests.infrastructure.role_needs import OBJECT
from tests.infrastructure.test_least_privilege import Roles, allows


@pytest.fixture(scope="module")
def roles(variants: Path) -> Roles:
    return Roles(variants, LONGEST_BOUNDED_NAME)


def may(roles: Roles, role: str, action: str, key: str) -> bool:
    bucket = roles.environment.arns("AWS::S3::Bucket")["Bucket"].removeprefix("arn:aws:s3:::")
    return allows(roles.statements[role], Permission(action, OBJECT.replace("{bucket}", bucket) + key))


def test_the_state_machine_trains_by_it_with_the_code_that_data_prep_uploads(variants: Path) -> None:
    machine = template_of(variants, LONGEST_BOUNDED_NAME, "Retraining").only("AWS::StepFunctions::StateMachine")
    job: Any = definition_of(machine)["States"]["TrainCandidate"]["Arguments"]
    (code,) = [c for c in job["InputDataConfig"] if c["ChannelName"] == "code"]
    assert code["DataSource"]["S3DataSource"]["S3Uri"].endswith(f"/{code_prefix()}")
    assert job["HyperParameters"].items() >= hyperparameters(config()).items()
    image = machine["DefinitionSubstitutions"]["TrainingImage"]["Fn::Join"][1]
    assert image[-1].endswith(f"/{SCIKIT_LEARN.container.repository}:{SCIKIT_LEARN.tag}")


def config() -> Any:
    return parse_environment("dev", {"training": {"algorithm": "scikit-learn"}})


def test_jobs_may_read_the_code_and_nobody_in_the_environment_may_write_it(roles: Roles) -> None:
    key = f"{code_prefix()}train.py"
    assert may(roles, "SageMakerRole", "s3:GetObject", key)
    writers = {role for role in roles.statements if may(roles, role, "s3:PutObject", key)}
    assert writers == {"DeployRole"}, "which runs data_prep"
    assert not may(roles, "DeployRole", "s3:DeleteObject", key)


def test_only_a_training_job_leaves_an_artifact_which_brings_the_code_that_serves_it(roles: Roles) -> None:
    key = "models/j/output/model.tar.gz"
    writers = {role for role in roles.statements if may(roles, role, "s3:PutObject", key)}
    assert writers == {"SageMakerRole", "DeployRole"}, "the latter for data_prep adopt"
