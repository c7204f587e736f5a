"""Interrupted commands can be repeated, and nothing is lost."""

import subprocess
import sys
from pathlib import Path

import boto3

from local.cloud import LocalCloud
from local.demonstration import Environment
from stacks.config import PROJECT_ROOT
from stacks.shared import prefixes

# Runs `data_prep upload` and kills itself, as kill -9 would, with the 30th object
_KILLED_UPLOAD = """
import itertools, os, signal, sys
from data_prep import aws, upload
count = itertools.count(1)
def killed(*arguments, _bring=upload._bring):
    if next(count) == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return _bring(*arguments)
upload._bring = killed
upload.upload_dataset(__import__("pathlib").Path(sys.argv[1]), sys.argv[2])
"""


def test_an_upload_that_was_killed_half_way_is_taken_up_again(
    environment: Environment, cloud: LocalCloud, dataset: Path
) -> None:
    s3 = boto3.client("s3")
    names = (prefixes.TRAIN, prefixes.TRAIN_LST)
    keys = [key for prefix in names for key in environment.keys(prefix)]
    assert len(keys) > 60
    for key in keys:
        s3.delete_object(Bucket=environment.bucket, Key=key)

    killed = subprocess.run(
        [sys.executable, "-c", _KILLED_UPLOAD, str(dataset), environment.bucket],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        check=False,
        timeout=120,
    )
    assert killed.returncode == -9
    after_kill = {key for prefix in names for key in environment.keys(prefix)}
    assert after_kill < set(keys)
    assert not environment.keys(prefixes.TRAIN_LST), "a list must not name images that are not there"

    subprocess.run(
        [sys.executable, "-m", "data_prep", "upload", "--env", "dev", "--dataset", str(dataset), "--quiet"],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        check=True,
        timeout=120,
    )
    assert {key for prefix in names for key in environment.keys(prefix)} == set(keys)
