"""The JSON documents that are stored beside a model's artifact, below `models/<job>/`."""

from typing import Literal

Document = Literal[
    "manifest",  # of the data set that it was trained on (data_prep/dataset.py)
    "predictions",  # for every validation image
    "evaluation",  # accuracy and calibration error of these predictions (lambda_src/retraining/gate.py)
    "smoke_test",  # some of these predictions, which the endpoint must reproduce
    "baseline",  # their distribution, which drift is measured against (lambda_src/monitoring/drift.py)
]


def document_key(job: str, document: Document) -> str:
    """The key of a document of the training job's model."""
    return f"models/{job}/{document}.json"
