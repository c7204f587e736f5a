"""Settings and a data set in moto's S3 for the tests of the retraining functions."""

import io
import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
from PIL import Image

from lambda_src.retraining.lst_file import DataDigest, ListLine
from tests.conftest import LONGEST_NAME
from tests.unit.stored import place

BUCKET = "the-bucket"
STAGE = f"scones-{LONGEST_NAME}"
SETTINGS: dict[str, Any] = {
    "bucket_name": BUCKET,
    "endpoint_name": STAGE,
    "stage_name": STAGE,
    "classes": ["bicycle", "motorcycle"],
    "parameters_digest": "abcdef01",
    "artifact_parameter": "/scones/dev/model/artifact-uri",
    "algorithm_parameter": "/scones/dev/model/algorithm",
    "metadata_parameter": "/scones/dev/model/metadata",
    "baseline_parameter": "/scones/dev/model/baseline-key",
    "cool_down_minutes": 360,
    "minimum_accuracy": 0.8,
    "margin": 0.02,
    "max_calibration_error": 0.15,
    "deployment_config": {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": 60,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "scones-dev-update-errors"}]},
    },
}


@cache
def png(number: int, size: int = 32) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class DataSet:
    """A data set in the bucket; change `objects` before it is stored."""

    objects: dict[str, bytes]
    digest: str

    @classmethod
    def of(cls, train: int = 6, test: int = 4) -> "DataSet":
        objects: dict[str, bytes] = {}
        digest = DataDigest()
        for split, count in (("train", train), ("test", test)):
            lines = [ListLine(index, index % 2, f"{split}_{index}.png") for index in range(count)]
            for line in lines:
                objects[f"{split}/{line.path}"] = png(hash((split, line.index)) % 2**32)
                digest.add(split, line, sha256(objects[f"{split}/{line.path}"]).hexdigest())
            objects[f"{split}_lst/{split}.lst"] = "".join(f"{line}\n" for line in lines).encode()
        manifest = {
            "classes": SETTINGS["classes"],
            "data_digest": digest.hexdigest(),
            "parameters": {"image_size": 32},
        }
        objects["manifest.json"] = json.dumps(manifest).encode()
        return cls(objects, digest.hexdigest())

    def store(self) -> None:
        for key, body in self.objects.items():
            place(BUCKET, key, body)
