"""The documents beside a model's artifact, below `models/<job>/`: what is known of the model."""

from typing import Literal

Document = Literal[
    "manifest",  # of the data set that it was trained on (data_prep/dataset.py)
    "predictions",  # for every validation image
    "evaluation",  # of these: accuracy and calibration error (lambda_src/retraining/gate.py)
    "smoke_test",  # some of these, which the endpoint must repeat
    "baseline",  # of these: the distribution that drift is measured against (lambda_src/monitoring/drift.py)
]


def document_key(job: str, document: Document) -> str:
    """The key of a document of the training job's model."""
    return f"models/{job}/{document}.json"
