"""The commands of docs/migrating.md in the local cloud, from the original's folder and artifact to their use."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from data_prep.artifact import current_artifact
from data_prep.dataset import Manifest
from local.cloud import LocalCloud
from local.demonstration import Environment
from stacks.config import PROJECT_ROOT
from tests.original import write_original

DOCUMENT = (PROJECT_ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
THEIRS = "sagemaker-us-east-1-111122223333"


def commands() -> list[list[str]]:
    """Those of this project; `cdk deploy` has been done when the cloud of these tests is there."""
    blocks = re.findall(r"^```bash\n(.*?)^```", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for line in "".join(blocks).splitlines() if line.startswith("python ")]


@pytest.fixture
def original(tmp_path: Path, archive: Path) -> Path:
    """What the notebook has left of the archive that the tests' data set is of."""
    return write_original(tmp_path / "scones-unlimited", archive)


def test_the_document_brings_the_original_over(
    cloud: LocalCloud, environment: Environment, original: Path, dataset: Path, tmp_path: Path
) -> None:
    config, s3, ssm = environment.config, boto3.client("s3"), boto3.client("ssm")
    names = (config.artifact_parameter, config.model_metadata_parameter, config.baseline_parameter)
    before = {p["Name"]: p["Value"] for p in ssm.get_parameters(Names=list(names))["Parameters"]}
    bucket, _, key = before[config.artifact_parameter].removeprefix("s3://").partition("/")
    s3.create_bucket(Bucket=THEIRS)
    artifact = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=THEIRS, Key="models/JOB/output/model.tar.gz", Body=artifact)
    folder = tmp_path / "imported"
    # Other tests have left images of their own below test/
    more = {"import": ["--output", str(folder)], "upload": ["--dataset", str(folder), "--delete-extra"]}
    output = {}
    try:
        for _, *arguments in commands():
            name = arguments[2]
            if arguments[1] != "data_prep":
                continue
            ended = subprocess.run(
                [sys.executable, *arguments, *more.get(name, [])],
                cwd=original.parent,
                env={**cloud.environment, "PYTHONPATH": str(PROJECT_ROOT)},
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            assert ended.returncode == (1 if name == "validate" else 0), ended.stderr
            output[name] = ended.stdout
        assert list(output) == ["validate", "import", "upload", "adopt"]
        assert "train.lst: has the labels 8, 48, but bicycle, motorcycle need each of 0 to 1" in output["validate"]
        assert Manifest.load(folder).data_digest == Manifest.load(dataset).data_digest
        found = current_artifact(config)
        assert found is not None
        assert found.origin == f"which was adopted from s3://{THEIRS}/models/JOB/output/model.tar.gz"
        served = found.uri.removeprefix(f"s3://{bucket}/")
        assert s3.get_object(Bucket=bucket, Key=served)["Body"].read() == artifact
        assert f"models/{found.job}/baseline.json" == ssm.get_parameter(Name=names[2])["Parameter"]["Value"]
        assert json.loads(ssm.get_parameter(Name=names[1])["Parameter"]["Value"])["accuracy"] >= 0.8
    finally:  # the other tests' model
        for name in names:
            if name in before:
                ssm.put_parameter(Name=name, Value=before[name], Type="String", Overwrite=True)
            else:
                ssm.delete_parameter(Name=name)
