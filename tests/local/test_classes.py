"""Five classes instead of two, and the algorithm that needs no GPU, by configuration alone: data set, training,
endpoint, workflow.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import deployment
from local.cloud import LocalCloud
from local.demonstration import Environment, check_execution, labelled_images
from stacks.config import PROJECT_ROOT, parse_environment
from tests.local.conftest import use

CLASSES = ["bicycle", "motorcycle", "bus", "streetcar", "pickup_truck"]
SETTINGS = {"classes": CLASSES, "training": {"algorithm": "scikit-learn"}}


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalCloud, Path]]:
    """The local cloud with the environment `five`, and the data set that its model was trained on."""
    directory = tmp_path_factory.mktemp("five")
    content = json.loads((PROJECT_ROOT / "cdk.json").read_text())
    content["context"]["environments"] = {"five": {**SETTINGS, "removal_policy": "destroy"}}
    cdk_json = directory / "cdk.json"
    cdk_json.write_text(json.dumps(content))
    dataset = directory / "dataset"
    cloud = LocalCloud.start(directory)

    def data_prep(*arguments: str) -> None:
        # The command that users run, reading the other cdk.json
        program = (
            "import sys; from pathlib import Path; from stacks import config; "
            "from data_prep import __main__ as command; "
            "config.load_environment.__defaults__ = (Path(sys.argv.pop(1)),); command.main()"
        )
        subprocess.run(
            [sys.executable, "-c", program, str(cdk_json), *arguments, "--quiet"],
            cwd=PROJECT_ROOT,
            env=cloud.environment,
            check=True,
            timeout=300,
        )

    try:
        sample = directory / "sample.tar.gz"
        data_prep("sample", str(sample), "--env", "five", "--train", "40", "--test", "10")
        data_prep("build", "--env", "five", "--archive", str(sample), "--output", str(dataset))
        assembly = directory / "cdk.out"
        context = {**os.environ, "CDK_OUTDIR": str(assembly), "CDK_CONTEXT_JSON": json.dumps(content["context"])}
        subprocess.run([sys.executable, "app.py"], cwd=PROJECT_ROOT, env=context, check=True, timeout=120)
        deployment.bootstrap(cloud)
        deployment.deploy(cloud, assembly, "five/Data")
        for command in ("upload", "train"):
            data_prep(command, "--env", "five", "--dataset", str(dataset))
        deployment.deploy(cloud, assembly, "five/*")
        cloud.enforce_iam()
        yield cloud, dataset
    finally:
        LocalCloud.stop_running(directory)


def test_five_classes_and_another_algorithm_need_no_other_code(
    five: tuple[LocalCloud, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud, dataset = five
    use(cloud, monkeypatch)
    environment = Environment.deployed(parse_environment("five", SETTINGS))
    images = labelled_images(dataset, environment.config.classes, at_most=50)
    assert {image.true_class for image in images} == set(CLASSES)
    execution = environment.classify([image.key for image in images])
    check_execution(environment, execution, [image.key for image in images])
    truth = {image.key: image.true_class for image in images}
    outcomes = execution.manifest["outcomes"]
    assert {outcome["label"] for outcome in outcomes} == set(CLASSES)
    right = sum(outcome["label"] == truth[outcome["s3_key"]] for outcome in outcomes)
    assert right >= 0.7 * len(outcomes)
