"""`python -m ops threshold`: what each confidence threshold would accept, and which one a wanted accuracy needs."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import plotly.graph_objects as go
import typer
from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table

from data_prep.options import EnvironmentName
from data_prep.terminal import visible
from lambda_src.monitoring.ground_truth import GroundTruth
from lambda_src.retraining.trained_model import Prediction
from lambda_src.shared.json_reader import read_json
from lambda_src.shared.model_documents import document_key
from ops import aws, page
from ops.calibration import Calibration, OperatingPoint
from ops.capture_source import CaptureSource
from ops.errors import OpsError
from ops.page import BLUE, GREEN, GREY, ORANGE, Chart, Fact, Page, Remark, Trace
from ops.page import Table as PageTable
from ops.shares import wilson_interval
from ops.truth_source import truth_of
from ops.window import Until, Window, since_option
from stacks.config import EnvironmentConfig, load_environment
from stacks.shared import prefixes

_SHOWN = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.99)

_RECENT = "7d"

Source = Literal["validation", "captures"]


def threshold(
    *,
    env: EnvironmentName = "dev",
    source: Annotated[
        Source,
        typer.Option(help="Predictions for the validation images, or captures whose ground truth is known."),
    ] = "validation",
    accuracy: Annotated[
        float, typer.Option(min=0, max=1, help="Required share of correct predictions among the accepted.")
    ] = 0.98,
    since: Annotated[str | None, since_option(_RECENT)] = None,
    until: Until = "now",
    folder: Annotated[
        Path | None, typer.Option(help="Captures in a file or below a folder instead of the bucket's.")
    ] = None,
    ground_truth: Annotated[Path | None, typer.Option(help="Labels below a folder instead of the bucket's.")] = None,
    model: Annotated[
        str, typer.Option(help="Training job of the model whose captures count. Default: the one in service.")
    ] = "",
    html: Annotated[Path | None, typer.Option(help="Write a report with plots to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")] = False,
) -> None:
    """Show accuracy and coverage of every confidence threshold, and the one that a required accuracy needs."""
    config = load_environment(env)
    if source == "validation":
        calibration, origin = Calibration(), "The model's predictions for the validation images"
        calibration.add(validation_predictions(config))
    else:
        window = Window.parse(since, until, default=None if folder else _RECENT)
        captures = CaptureSource(config, window, folder)
        truth = truth_of(config, window, captures.parse_errors, ground_truth)
        calibration, origin = labelled_captures(captures, truth, model)
        truth.close()
    if not calibration.total:
        raise OpsError(f"{origin}: there are none; put labels below {prefixes.GROUND_TRUTH} in the bucket")
    if html:
        page.write(threshold_page(config, calibration, accuracy=accuracy, origin=origin), html)
        typer.echo(f"Report: {html}", err=as_json)
    if as_json:
        typer.echo(json.dumps(_as_dict(config, calibration, accuracy), indent=2))
    else:
        _show(config, calibration, accuracy=accuracy, origin=origin)


def labelled_captures(captures: CaptureSource, truth: GroundTruth, model: str) -> tuple[Calibration, str]:
    """The captures of one model with known truth, and their description. Without `model`, of the model in service.

    A threshold is meaningful for one model only, so captures of other models are skipped and counted on stderr.
    """
    by_model: defaultdict[str, Calibration] = defaultdict(Calibration)
    for capture in captures:
        true = truth.label_of(capture)
        if true is not None:
            is_correct = captures.config.classes[true] == capture.label
            by_model[captures.origins.model_of(capture)].add([(capture.confidence, is_correct)])
    captures.report_skipped()
    model = model or captures.origins.served
    chosen = by_model.pop(model, Calibration())
    for other, left_out in by_model.items():
        name = visible(other) or "a model that is not known"
        typer.echo(f"Left out: {left_out.total:,} captures of {name}; `--model` chooses", err=True)
    of_model = f"of the model {model}" if model else "of whichever model, as no release is known"
    return chosen, f"Captures with ground truth of {captures.name}, {captures.window}, {of_model}"


def validation_predictions(config: EnvironmentConfig) -> Iterator[tuple[float, bool]]:
    """Confidence and correctness of the current model's prediction for every validation image; raises OpsError.

    data_prep keeps them of the first model (`python -m data_prep baseline`), retraining of every later one.
    """
    bucket, s3 = aws.bucket(config), aws.s3()
    try:
        metadata = aws.ssm().get_parameter(Name=config.model_metadata_parameter)["Parameter"]["Value"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        raise OpsError(
            f"environment {config.name!r} has no model yet: run `python -m data_prep run --env {config.name}`"
        ) from None
    key = document_key(json.loads(metadata)["job"], "predictions")
    command = f"python -m data_prep baseline --env {config.name}"
    try:
        content = read_json(s3.get_object(Bucket=bucket, Key=key)["Body"], name=key)
        predictions = [Prediction(**image) for image in content["images"]]
    except s3.exceptions.NoSuchKey:
        raise OpsError(f"s3://{bucket}/{key} does not exist: `{command}` lets the model predict") from None
    except (ValueError, TypeError, KeyError) as error:
        raise OpsError(f"s3://{bucket}/{key}: no predictions ({error!r}); `{command} --force` makes new ones") from None
    for prediction in predictions:
        yield prediction.confidence, prediction.is_correct


def _points(config: EnvironmentConfig, calibration: Calibration) -> list[OperatingPoint]:
    return calibration.at(*_SHOWN, config.confidence_threshold)


def _verdict(calibration: Calibration, accuracy: float) -> str:
    """The threshold that the required accuracy needs, and how many images it rejects, in a sentence or two."""
    point = calibration.threshold_for(accuracy)
    if point is None:
        return f"No threshold reaches an accuracy of {accuracy:.1%} on these predictions."
    low, high = point.interval
    text = (
        f"For an accuracy of {accuracy:.1%}, the threshold is {point.threshold:g}: it accepts {point.coverage:.1%} and "
        f"rejects {point.rejected:,} of {point.total:,} images. "
        f"({point.correct:,} of {point.accepted:,} are correct; 95% interval {low:.1%} to {high:.1%}.)"
    )
    safe = calibration.threshold_for(accuracy, certainly=True)
    if safe is None:
        return f"{text} There are too few predictions to be 95% sure of it at any threshold."
    if safe.threshold == point.threshold:
        return text
    return (
        f"{text} To be 95% sure of it, the threshold is {safe.threshold:g}, "
        f"which rejects {safe.rejected:,} images ({1 - safe.coverage:.1%})."
    )


def _as_dict(config: EnvironmentConfig, calibration: Calibration, accuracy: float) -> dict[str, object]:
    def as_dict(point: OperatingPoint | None) -> dict[str, object] | None:
        if point is None:
            return None
        return {
            "threshold": point.threshold,
            "coverage": point.coverage,
            "accuracy": point.accuracy,
            "interval": point.interval,
            "accepted": point.accepted,
            "rejected": point.rejected,
        }

    return {
        "environment": config.name,
        "predictions": calibration.total,
        "expected_calibration_error": calibration.expected_calibration_error,
        "wanted_accuracy": accuracy,
        "threshold": as_dict(calibration.threshold_for(accuracy)),
        "certain_threshold": as_dict(calibration.threshold_for(accuracy, certainly=True)),
        "points": [as_dict(point) for point in _points(config, calibration)],
    }


def _show(config: EnvironmentConfig, calibration: Calibration, *, accuracy: float, origin: str) -> None:
    console = Console(highlight=False)
    console.print(f"{origin}: {calibration.total:,} predictions\n", soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in _HEADER:
        table.add_column(header, justify="right", no_wrap=True)
    for point in _points(config, calibration):
        is_current = point.threshold == config.confidence_threshold
        table.add_row(*_cells(point), "now" if is_current else "", style="bold" if is_current else "")
    console.print(table)
    console.print(f"\nECE {calibration.expected_calibration_error:.4f}")
    console.print(_verdict(calibration, accuracy), soft_wrap=True)


_HEADER = ("threshold", "coverage", "accuracy", "95% interval", "accepted", "rejected", "")


def _cells(point: OperatingPoint) -> list[str]:
    low, high = point.interval
    return [
        f"{point.threshold:g}",
        f"{point.coverage:.1%}",
        "none" if point.accuracy is None else f"{point.accuracy:.1%}",
        "none" if point.accuracy is None else f"{low:.1%} to {high:.1%}",
        f"{point.accepted:,}",
        f"{point.rejected:,}",
    ]


def threshold_page(config: EnvironmentConfig, calibration: Calibration, *, accuracy: float, origin: str) -> Page:
    """The accuracy-coverage curve and the reliability diagram as a page."""
    (current,) = calibration.at(config.confidence_threshold)
    wanted = calibration.threshold_for(accuracy)
    error = calibration.expected_calibration_error
    facts = [
        Fact("Predictions", f"{calibration.total:,}"),
        Fact(
            f"Accuracy at {current.threshold:g}",
            "none" if current.accuracy is None else f"{current.accuracy:.1%}",
            f"{current.coverage:.1%} accepted",
        ),
        Fact(
            f"Threshold for {accuracy:.1%}",
            f"{wanted.threshold:g}" if wanted else "none",
            f"rejects {wanted.rejected:,} of {wanted.total:,}" if wanted else "cannot be reached",
            "" if wanted else "bad",
        ),
        Fact("Calibration error", f"{error:.3f}", "ECE, 0 is perfect"),
    ]
    return Page(
        f"Scones Unlimited {config.name}: confidence threshold",
        origin,
        facts,
        [
            Remark(f"Threshold for an accuracy of {accuracy:.1%}", _verdict(calibration, accuracy), is_wide=True),
            _curve_chart(config, calibration, current, wanted, accuracy),
            _reliability_chart(calibration),
        ],
    )


def _curve_chart(
    config: EnvironmentConfig,
    calibration: Calibration,
    current: OperatingPoint,
    wanted: OperatingPoint | None,
    accuracy: float,
) -> Chart:
    # Only points that differ: at most one per prediction and one per step
    points, accepted = [], 0
    for point in calibration.curve():
        if point.accepted != accepted:
            points.append(point)
            accepted = point.accepted
    traces: list[Trace] = [
        go.Scatter(
            x=[point.coverage for point in points],
            y=[point.accuracy for point in points],
            text=[f"threshold {point.threshold:g}, {point.rejected:,} rejected" for point in points],
            mode="lines",
            name="accuracy",
            line={"color": BLUE, "width": 2},
            hovertemplate="coverage %{x:.1%}<br>accuracy %{y:.2%}<br>%{text}<extra></extra>",
        )
    ]
    marked = [(current, f"configured, {current.threshold:g}", GREEN, "circle")]
    if wanted:
        marked.append((wanted, f"for {accuracy:.1%}, {wanted.threshold:g}", ORANGE, "diamond"))
    for point, name, colour, symbol in marked:
        if point.accepted:
            traces.append(
                go.Scatter(
                    x=[point.coverage],
                    y=[point.accuracy],
                    mode="markers",
                    name=name,
                    marker={"size": 13, "color": colour, "symbol": symbol},
                    hovertemplate=f"{name}<br>coverage %{{x:.1%}}<br>accuracy %{{y:.2%}}<extra></extra>",
                )
            )
    lowest = min(point.accuracy or 0 for point in points)
    return Chart(
        name="accuracy-coverage",
        heading="Accuracy against coverage",
        text="A higher threshold accepts fewer images (to the left), of which more are correct.",
        figure=page.figure(
            traces,
            xaxis={"title": {"text": "share of images accepted"}, "tickformat": ".0%", "range": [0, 1.02]},
            yaxis={
                "title": {"text": "correct among the accepted"},
                "tickformat": ".1%",
                "range": [lowest - 0.01, 1.004],
            },
            **page.bounds((accuracy, f"wanted {accuracy:.1%}", GREY)),
        ),
        alt=_verdict(calibration, accuracy),
        table=PageTable(_HEADER[:-1], [_cells(point) for point in _points(config, calibration)]),
    )


def _reliability_chart(calibration: Calibration) -> Chart:
    bins = [(index, bin_) for index, bin_ in enumerate(calibration.bins) if bin_.count]
    means = [bin_.confidence_sum / bin_.count for _, bin_ in bins]
    shares = [bin_.correct / bin_.count for _, bin_ in bins]
    first = bins[0][0] / len(calibration.bins)
    error = calibration.expected_calibration_error
    return Chart(
        name="reliability",
        heading="Calibration",
        text=f"Correct predictions against confidence. On the line, 0.9 is correct 9 times out of 10. ECE {error:.4f}.",
        figure=page.figure(
            [
                go.Scatter(
                    x=[first, 1],
                    y=[first, 1],
                    mode="lines",
                    name="perfect",
                    line={"color": GREY, "dash": "dash", "width": 1.5},
                    hoverinfo="skip",
                ),
                go.Scatter(
                    x=means,
                    y=shares,
                    text=[f"{bin_.count:,} predictions" for _, bin_ in bins],
                    mode="lines+markers",
                    name="this model",
                    line={"color": BLUE, "width": 2},
                    marker={"size": 8},
                    error_y=page.error_bars(shares, [wilson_interval(bin_.correct, bin_.count) for _, bin_ in bins]),
                    hovertemplate="confidence %{x:.3f}<br>correct %{y:.1%}<br>%{text}<extra></extra>",
                ),
            ],
            xaxis={"title": {"text": "mean confidence"}, "range": [first - 0.02, 1.02]},
            yaxis={"title": {"text": "correct predictions"}, "tickformat": ".0%", "range": [0, 1.04]},
        ),
        alt=f"Reliability diagram: share of correct predictions by confidence. Expected calibration error {error:.4f}",
        table=PageTable(
            ["confidence", "predictions", "mean confidence", "correct"],
            [
                [
                    f"{index / len(calibration.bins):.2f} to {(index + 1) / len(calibration.bins):.2f}",
                    f"{bin_.count:,}",
                    f"{mean:.3f}",
                    f"{share:.1%}",
                ]
                for (index, bin_), mean, share in zip(bins, means, shares, strict=True)
            ],
        ),
    )
