"""Further buckets and prefixes to read images from: the grants that follow, and nothing else."""

import pytest

from tests.infrastructure.conftest import Template, text

THEIRS = {"arn:<AWS::Partition>:s3:::sagemaker-us-east-1-111122223333", "arn:<AWS::Partition>:s3:::pictures"}


def allowed(workflow: Template, role: str) -> list[tuple[set[str], set[str]]]:
    """Actions on S3, and on what, of each statement; of the environment's own bucket the key alone."""
    found = []
    for statement in workflow.statements(role):
        actions, arns = (
            {values} if isinstance(values, str) else set(map(text, values if isinstance(values, list) else [values]))
            for values in (statement["Action"], statement["Resource"])
        )
        if any(action.startswith("s3:") for action in actions):
            found.append((actions, {arn.partition(">/")[2] or arn for arn in arns}))
    return found


def test_serialize_image_data_reads_from_the_configured_locations(extended_workflow: Template) -> None:
    read, list_ = allowed(extended_workflow, "SerializeImageDataRole")
    assert read[0] == {"s3:GetObject", "s3:GetObjectVersion"}
    theirs, pictures = (
        "arn:<AWS::Partition>:s3:::sagemaker-us-east-1-111122223333",
        "arn:<AWS::Partition>:s3:::pictures",
    )
    assert read[1] == {
        "incoming/*", "scheduled/*", "test/*", "train/*", f"{theirs}/data/test/*", f"{pictures}/*"
    }  # fmt: skip
    assert list_[0] == {"s3:ListBucket"}


@pytest.mark.parametrize("role", ["SerializeImageDataRole", "ClassificationWorkflowRole"])
def test_a_missing_image_is_distinguished_from_a_forbidden_one_and_a_prefix_can_be_listed(
    extended_workflow: Template, role: str
) -> None:
    ((_, buckets),) = [found for found in allowed(extended_workflow, role) if found[0] == {"s3:ListBucket"}]
    assert buckets > THEIRS
    assert len(buckets) == 3  # one is the environment's own


def test_nobody_writes_there(extended_workflow: Template) -> None:
    for role in ("SerializeImageDataRole", "ClassificationWorkflowRole", "FilterConfidenceRole"):
        for actions, arns in allowed(extended_workflow, role):
            if any("pictures" in arn or "sagemaker-us" in arn for arn in arns):
                assert actions <= {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"}
