"""The code of the scikit-learn algorithm in the bucket: exactly these files, uploaded once."""

import pytest

from data_prep import aws
from data_prep.errors import UploadError
from data_prep.upload import upload_code
from stacks.config import EnvironmentConfig, parse_environment
from stacks.shared.model_code import MODEL_SRC, code_digest, code_prefix


@pytest.fixture
def scikit_learn() -> EnvironmentConfig:
    return parse_environment("dev", {"training": {"algorithm": "scikit-learn"}})


def keys(bucket: str) -> list[str]:
    return [item["Key"] for item in aws.s3().list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_the_bucket_gets_every_file_below_the_digest_and_is_then_left_alone(
    scikit_learn: EnvironmentConfig, cloud: str
) -> None:
    names = sorted(path.name for path in MODEL_SRC.glob("*.py"))
    assert upload_code(scikit_learn, cloud) == len(names)
    assert keys(cloud) == [f"code/{code_digest()}/{name}" for name in names]
    body = aws.s3().get_object(Bucket=cloud, Key=f"{code_prefix()}{names[0]}")["Body"].read()
    assert body == (MODEL_SRC / names[0]).read_bytes()
    assert upload_code(scikit_learn, cloud) == 0


def test_a_file_that_somebody_changed_is_put_right(scikit_learn: EnvironmentConfig, cloud: str) -> None:
    upload_code(scikit_learn, cloud)
    changed = keys(cloud)[0]
    aws.s3().put_object(Bucket=cloud, Key=changed, Body=b"import os")
    assert upload_code(scikit_learn, cloud) == 1
    assert aws.s3().get_object(Bucket=cloud, Key=changed)["Body"].read() != b"import os"


def test_a_file_that_somebody_added_is_refused(scikit_learn: EnvironmentConfig, cloud: str) -> None:
    """A job would be given it too, and import it before a module of the same name."""
    aws.s3().put_object(Bucket=cloud, Key=f"{code_prefix()}numpy.py", Body=b"")
    with pytest.raises(UploadError, match=r"1 objects lie beside the code .*aws s3 rm s3://.*/numpy\.py"):
        upload_code(scikit_learn, cloud)


def test_the_built_in_algorithm_brings_its_own_code(config: EnvironmentConfig, cloud: str) -> None:
    assert upload_code(config, cloud) == 0
    assert keys(cloud) == []
