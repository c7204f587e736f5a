"""EvaluateModels: candidate and incumbent on the same validation images, from their Batch Transform outputs."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from lambda_src import aws, release, settings
from lambda_src.drift import MIN_BASELINE, Baseline
from lambda_src.gate import Bounds, reasons_against, result_of
from lambda_src.lst_file import ListLine
from lambda_src.retraining_errors import TransformOutputError
from lambda_src.transform_output import output_keys, parse_output, read_output
from lambda_src.validate_data_set import SPLITS, validation_lines

KNOWN_IMAGES = 6  # that the smoke test asks the endpoint for


@dataclass(frozen=True)
class Answers:
    """A model's probabilities for the validation images, in the order of the list."""

    lines: list[ListLine]
    probabilities: list[list[float]]

    def known(self, count: int) -> list[dict[str, Any]]:
        """Images that the model gets right, the surest first, the classes taking turns."""
        by_label: dict[int, list[tuple[float, ListLine, list[float]]]] = {}
        for line, answer in zip(self.lines, self.probabilities, strict=True):
            if answer.index(max(answer)) == line.label:
                by_label.setdefault(line.label, []).append((-max(answer), line, answer))
        ranked = [sorted(images, key=lambda image: (image[0], image[1].path)) for images in by_label.values()]
        turns = [images[turn] for turn in range(count) for images in ranked if turn < len(images)]
        return [
            {"key": f"{SPLITS['test'][0]}{line.path}", "label": line.label, "probabilities": answer}
            for _, line, answer in turns[:count]
        ]


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"candidate", "incumbent"}`, each `{"job", "artifact_uri", "output"}`; answers both results and the gate's
    reasons against a release. Leaves each model's evaluation, known answers and drift baseline beside its artifact.
    """
    shared = settings.retraining()
    results = {}
    for role in ("candidate", "incumbent"):
        model = event[role]
        answers = read_answers(model["output"])
        results[role] = result_of(answers.probabilities, [line.label for line in answers.lines])
        _store(model, answers, asdict(results[role]))
    bounds = Bounds(shared.minimum_accuracy, shared.margin, shared.max_calibration_error)
    return {
        **{role: asdict(result) for role, result in results.items()},
        "reasons": reasons_against(results["candidate"], results["incumbent"], bounds),
    }


def read_answers(output: str) -> Answers:
    """The outputs below a prefix for every image of the list; raises TransformOutputError."""
    lines = list(validation_lines(settings.retraining().bucket_name))
    with ThreadPoolExecutor(aws.MAX_CONNECTIONS) as pool:
        return Answers(lines, list(pool.map(lambda line: _answer(output, line), lines)))


def _answer(output: str, line: ListLine) -> list[float]:
    bucket, prefix = settings.retraining().bucket_name, SPLITS["test"][0]
    keys = output_keys(output, image_key=f"{prefix}{line.path}", input_prefix=prefix)
    body = read_output(aws.s3(), bucket, keys)
    if body is None:
        raise TransformOutputError(f"Batch Transform left no answer in s3://{bucket} at {' or '.join(keys)}")
    return parse_output(body, settings.retraining().classes)


def _store(model: Mapping[str, str], answers: Answers, result: dict[str, Any]) -> None:
    if model["job"] == model["artifact_uri"]:
        return  # an artifact from elsewhere has no place of its own
    folder = f"models/{model['job']}/"
    for name, content in _documents(model, answers, result):
        release.store_json(f"{folder}{name}", content)


def _documents(
    model: Mapping[str, str], answers: Answers, result: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "evaluation.json", result
    yield "smoke_test.json", {"images": answers.known(KNOWN_IMAGES)}
    if len(answers.probabilities) >= MIN_BASELINE:
        yield "baseline.json", asdict(_baseline(answers.probabilities, model["artifact_uri"]))


def _baseline(probabilities: Sequence[Sequence[float]], artifact_uri: str) -> Baseline:
    return Baseline.of(probabilities, classes=settings.retraining().classes, artifact_uri=artifact_uri)
