"""A trained model's metadata, and the documents beside its artifact, below `models/<job>/`.

data_prep writes them for the first model, retraining for every candidate and incumbent; ops reads them.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from lambda_src.retraining.errors import TransformOutputError
from lambda_src.retraining.gate import result_of
from lambda_src.retraining.lst_file import ListLine
from lambda_src.shared import aws
from lambda_src.shared.algorithms import ACCURACY_METRIC, container_of
from lambda_src.shared.baseline import MIN_BASELINE, Baseline
from lambda_src.shared.model_documents import Document
from lambda_src.shared.transform_output import output_keys, parse_output, read_output

VALIDATION_IMAGES = "test/"  # prefix of the images that test_lst/test.lst names
KNOWN_IMAGES = 6  # images that the smoke test sends to the endpoint


@dataclass(frozen=True)
class TrainedModel:
    """A model artifact and its origin. The environment's metadata parameter holds it as JSON.

    `classes` are in label order; `accuracy` is that on the validation images, or None if unknown.
    """

    job: str
    artifact_uri: str
    accuracy: float | None
    classes: tuple[str, ...]
    data_digest: str
    image: str
    hyperparameters: dict[str, str]

    @property
    def algorithm(self) -> str:
        """The algorithm that trained it, which determines the container that serves it; raises ValueError."""
        return container_of(self.image).algorithm

    @classmethod
    def of(
        cls, job: Mapping[str, Any], *, classes: Sequence[str], data_digest: str, accuracy: float | None
    ) -> "TrainedModel":
        """From the description of a completed training job."""
        return cls(
            job=job["TrainingJobName"],
            artifact_uri=job["ModelArtifacts"]["S3ModelArtifacts"],
            accuracy=accuracy,
            classes=tuple(classes),
            data_digest=data_digest,
            image=job["AlgorithmSpecification"]["TrainingImage"],
            hyperparameters=dict(job["HyperParameters"]),
        )


def training_accuracy(job: Mapping[str, Any]) -> float | None:
    """The accuracy on the validation channel that the job reported for the best epoch, which is in the artifact."""
    metrics = job.get("FinalMetricDataList", [])
    return max((m["Value"] for m in metrics if m["MetricName"] == ACCURACY_METRIC), default=None)


@dataclass(frozen=True)
class Prediction:
    """A model's probabilities, in label order, for an image whose label is known."""

    key: str
    label: int
    probabilities: list[float]

    @property
    def confidence(self) -> float:
        return max(self.probabilities)

    @property
    def is_correct(self) -> bool:
        return self.probabilities.index(self.confidence) == self.label


def read_predictions(
    s3: Any, bucket: str, output: str, lines: Sequence[ListLine], *, classes: tuple[str, ...]
) -> list[Prediction]:
    """A transform job's predictions below `output` for all validation images, read with the given S3 client.

    Raises TransformOutputError or InvalidPredictionError.
    """

    def prediction(line: ListLine) -> Prediction:
        image_key = f"{VALIDATION_IMAGES}{line.path}"
        keys = output_keys(output, image_key=image_key, input_prefix=VALIDATION_IMAGES)
        body = read_output(s3, bucket, keys)
        if body is None:
            raise TransformOutputError(f"Batch Transform left no prediction in s3://{bucket} at {' or '.join(keys)}")
        return Prediction(image_key, line.label, parse_output(body, classes))

    with ThreadPoolExecutor(aws.MAX_CONNECTIONS) as pool:
        return list(pool.map(prediction, lines))


def documents_of(
    predictions: Sequence[Prediction], *, classes: Sequence[str], artifact_uri: str
) -> dict[Document, dict[str, Any]]:
    """The documents that are computed from a model's predictions; without a baseline if there are too few."""
    result = result_of([p.probabilities for p in predictions], [p.label for p in predictions])
    documents: dict[Document, dict[str, Any]] = {
        "predictions": {"images": [asdict(p) for p in predictions]},
        "evaluation": asdict(result),
        "smoke_test": {"images": [asdict(p) for p in known_images(predictions)]},
    }
    if len(predictions) >= MIN_BASELINE:
        baseline = Baseline.of([p.probabilities for p in predictions], classes=classes, artifact_uri=artifact_uri)
        documents["baseline"] = asdict(baseline)
    return documents


def known_images(predictions: Sequence[Prediction], count: int = KNOWN_IMAGES) -> list[Prediction]:
    """Correct predictions, the most confident first, alternating between the classes."""
    by_label: dict[int, list[Prediction]] = {}
    for prediction in sorted(predictions, key=lambda p: (-p.confidence, p.key)):
        if prediction.is_correct:
            by_label.setdefault(prediction.label, []).append(prediction)
    turns = [images[turn] for turn in range(count) for images in by_label.values() if turn < len(images)]
    return turns[:count]
