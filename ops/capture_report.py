"""The report of a time window: the endpoint's requests and predictions, as one HTML page."""

import io
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import plotly.graph_objects as go
from PIL import Image

from data_prep.terminal import confidence_text
from lambda_src.monitoring.captures import ParseErrors
from lambda_src.monitoring.drift import PSI_WATCH
from lambda_src.shared.baseline import BaselineError
from lambda_src.shared.errors import ImageError
from lambda_src.shared.image_format import check_image
from ops import page
from ops.page import (
    BLUE,
    CLASS_COLOURS,
    GREEN,
    GREY,
    ORANGE,
    Chart,
    Fact,
    Gallery,
    Mark,
    Page,
    Picture,
    Remark,
    Table,
    Tone,
    Trace,
)
from ops.shares import wilson_interval
from ops.summary import Bucket, DriftWindow, LeastConfident, Summary
from ops.window import Window
from stacks.config import EnvironmentConfig

_SHOWN_CLASSES = 5
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x")
_LABELS_PER_POINT = 30
_THUMBNAIL_PIXELS = 160

Section = Chart | Remark | Gallery


def capture_page(config: EnvironmentConfig, window: Window, summary: Summary, parse_errors: ParseErrors) -> Page:
    """The page of an environment's captures in a window."""
    notes = [f"Endpoint {config.endpoint_name}. Times are in UTC. One request is one image that was asked about."]
    if parse_errors.count:
        notes.append(f"{parse_errors.count:,} malformed lines were skipped, such as {'; '.join(parse_errors.examples)}")
    known = {model: count for model, count in summary.models.most_common() if model}
    if known:
        notes.append(f"Models: {', '.join(f'{model} ({count:,} requests)' for model, count in known.items())}")
    title = f"Scones Unlimited {config.name}: predictions of the endpoint"
    if not summary.first or not summary.last:
        nothing = Remark("No captures", f"Data capture kept no request from {window}.")
        return Page(title, str(window), [Fact("Requests", "0")], [nothing], notes)
    window = window.within(summary.first, summary.last)
    try:
        windows, problem = summary.drift_windows(), None
    except BaselineError as error:
        windows, problem = [], str(error)
    sections: list[Section] = [
        _confidence_over_time(summary),
        _confidence_distribution(summary),
        _drift(summary, windows, problem),
        _class_mix(summary),
        _under_threshold(summary),
        _accuracy(summary),
        _least_confident(summary),
    ]
    return Page(title, str(window), _facts(summary, windows, parse_errors), sections, notes)


def _facts(summary: Summary, windows: list[DriftWindow], parse_errors: ParseErrors) -> list[Fact]:
    total = summary.total
    facts = [
        Fact("Requests", f"{summary.requests:,}", f"within {_age(summary)}"),
        Fact(
            "Median confidence", confidence_text(total.quantile(0.5)), f"mean {confidence_text(total.mean_confidence)}"
        ),
        Fact(
            f"Under {summary.threshold:g}",
            _percent(total.under_threshold, summary.requests),
            f"{total.under_threshold:,} not accepted",
        ),
    ]
    scored = [found for found in windows if found.drift.is_large_enough]
    if scored:
        last = scored[-1].drift
        tones: dict[str, Tone] = {"stable": "good", "watch": "warning", "drift": "bad"}
        facts.append(Fact("Drift score", f"{last.score:.2f}", f"{last.verdict}, last window", tones[last.verdict]))
    else:
        facts.append(Fact("Drift score", "none", "too few requests" if summary.baseline else "no baseline"))
    if total.labelled:
        accuracy = _percent(total.correct, total.labelled)
        facts.append(Fact("Accuracy", accuracy, f"{total.correct:,} of {total.labelled:,} labelled"))
    if parse_errors.count:
        facts.append(Fact("Malformed lines", f"{parse_errors.count:,}", "skipped", "warning"))
    return facts


def _confidence_over_time(summary: Summary) -> Chart:
    points, total = summary.points, summary.total
    lowest = min(point.confidence for point in points)
    sample = f"a sample of {len(points):,} of " if len(points) < summary.requests else ""
    return Chart(
        name="confidence-over-time",
        heading="Confidence over time",
        text=f"Each point is one prediction ({sample}{summary.requests:,}). Predictions under the line are rejected.",
        figure=page.figure(
            _confidence_traces(summary),
            xaxis=_time_axis(summary),
            yaxis={"title": {"text": "confidence"}, "range": [min(lowest, summary.threshold) - 0.03, 1.02]},
            **page.bounds((summary.threshold, f"threshold {summary.threshold:g}", ORANGE)),
        ),
        alt=(
            f"Confidence of {summary.requests:,} predictions over {_span(summary)}: "
            f"median {confidence_text(total.quantile(0.5))}, "
            f"lowest tenth under {confidence_text(total.quantile(0.1))}, "
            f"{_percent(total.under_threshold, summary.requests)} under the threshold of {summary.threshold:g}"
        ),
        table=Table(
            ["from", "requests", "lowest tenth under", "median", "mean"],
            [
                [
                    _time(time),
                    f"{bucket.requests:,}",
                    confidence_text(bucket.quantile(0.1)),
                    confidence_text(bucket.quantile(0.5)),
                    confidence_text(bucket.mean_confidence),
                ]
                for time, bucket in summary.buckets
            ],
        ),
        is_wide=True,
    )


def _confidence_traces(summary: Summary) -> list[Trace]:
    """The sampled predictions of each class, and their median over time."""
    traces: list[Trace] = []
    buckets = summary.buckets
    for (name, members, colour), symbol in zip(_class_groups(summary), _SYMBOLS, strict=False):
        chosen = [point for point in summary.points if point.label in members]
        traces.append(
            go.Scatter(
                x=[point.time for point in chosen],
                y=[point.confidence for point in chosen],
                mode="markers",
                name=name,
                marker={"size": 6, "opacity": 0.75, "color": colour, "symbol": symbol},
                hovertemplate="%{x|%Y-%m-%d %H:%M:%S}<br>%{y:.7~f}<extra>" + name + "</extra>",
            )
        )
    if len(buckets) > 2:
        traces.append(
            go.Scatter(
                x=_bucket_middles(summary),
                y=[bucket.quantile(0.5) for _, bucket in buckets],
                mode="lines",
                name=f"median of {_duration(summary.bucket_seconds)}",
                line={"color": GREY, "width": 2.5},
                hovertemplate="%{x|%Y-%m-%d %H:%M:%S}<br>median %{y:.5~f}<extra></extra>",
            )
        )
    return traces


def _confidence_distribution(summary: Summary) -> Chart:
    total, baseline = summary.total, summary.baseline
    names = _bin_names(summary.edges)
    observed = [count / summary.requests for count in total.tally.confidence_counts]
    expected = [count / baseline.size for count in baseline.confidence_counts] if baseline else []
    if not baseline:  # all bins below the lowest prediction are empty
        first = next(index for index, share in enumerate(observed) if share)
        names, observed = names[first:], observed[first:]
    traces: list[Trace] = []
    if baseline:
        traces.append(
            go.Bar(
                x=expected,
                y=names,
                orientation="h",
                name=f"baseline ({baseline.size:,})",
                marker={"color": GREY, "opacity": 0.75},
            )
        )
    traces.append(
        go.Bar(x=observed, y=names, orientation="h", name=f"captured ({summary.requests:,})", marker={"color": BLUE})
    )
    for trace in traces:
        trace.hovertemplate = "%{y}<br>%{x:.1%}<extra>" + str(trace.name) + "</extra>"
    text = (
        "The baseline is the model's own predictions for the validation images, in bins of equal shares."
        if baseline
        else "Without a baseline there is nothing to compare with; `python -m data_prep baseline` computes one."
    )
    shift = (
        max(zip(observed, expected, names, strict=True), key=lambda bin_: abs(bin_[0] - bin_[1])) if baseline else None
    )
    return Chart(
        name="confidence-distribution",
        heading="Confidence, compared with the baseline" if baseline else "Distribution of confidence",
        text=text,
        figure=page.figure(
            traces,
            barmode="group",
            bargap=0.25,
            xaxis={"title": {"text": "share of predictions"}, "tickformat": ".0%", "nticks": 6},
            yaxis={"type": "category", "automargin": True},
        ),
        alt=(
            "Bars of the share of predictions by confidence, baseline and captured. The largest difference is at "
            f"confidence {shift[2]}: {shift[0]:.1%} captured, {shift[1]:.1%} in the baseline"
            if shift
            else f"Bars of the share of predictions by confidence. Most lie at {names[observed.index(max(observed))]}"
        ),
        table=Table(
            ["confidence", "captured", *(["baseline"] if baseline else [])],
            [
                [name, f"{share:.1%}", *([f"{expected[index]:.1%}"] if baseline else [])]
                for index, (name, share) in enumerate(zip(names, observed, strict=True))
            ],
        ),
    )


def _drift(summary: Summary, windows: list[DriftWindow], problem: str | None) -> Section:
    heading = "Drift score"
    if summary.baseline is None:
        return Remark(
            heading,
            "There is no baseline to compare with. `python -m data_prep baseline` runs the model on the validation "
            "images and stores it.",
        )
    if problem:
        return Remark(heading, f"The baseline cannot be compared with: {problem}.")
    scored = [window for window in windows if window.drift.is_large_enough]
    highest = max((window.drift.score for window in windows), default=0.0)
    minimum, bound = windows[0].drift.minimum, windows[0].drift.bound
    worst = max(scored, key=lambda window: window.drift.score, default=None)
    return Chart(
        name="drift",
        heading=heading,
        text=(
            f"Population stability index against the baseline, of windows of at least {minimum:,} requests. From "
            f"{PSI_WATCH:g}: watch; from {bound:g}: drift. Open markers have too few requests to count."
        ),
        figure=page.figure(
            _drift_traces(windows),
            xaxis=_time_axis(summary),
            yaxis={"title": {"text": "PSI"}, "range": [0, max(highest, bound) * 1.15]},
            **page.bounds(
                (bound, f"drift {bound:g}", ORANGE),
                (PSI_WATCH, "", "#c98a00"),
            ),
        ),
        alt=(
            f"Drift score of {len(scored)} windows. The highest is {worst.drift.score:.2f}, {worst.drift.verdict}"
            if worst
            else f"No window has the {minimum:,} requests that a drift score needs"
        ),
        table=Table(
            ["from", "to", "requests", "confidence PSI", "class mix PSI", "verdict"],
            [
                [
                    _time(w.start),
                    _time(w.end),
                    f"{w.drift.requests:,}",
                    f"{w.drift.confidence.psi:.3f}",
                    f"{w.drift.classes.psi:.3f}",
                    w.drift.verdict,
                ]
                for w in windows
            ],
        ),
    )


def _drift_traces(windows: Sequence[DriftWindow]) -> list[Trace]:
    """The index of the confidences and of the classes; windows with too few requests have open markers."""
    times = [_middle(window.start, window.end) for window in windows]
    series = (
        ("confidence", [w.drift.confidence.psi for w in windows], BLUE, "circle"),
        ("class mix", [w.drift.classes.psi for w in windows], GREEN, "diamond"),
    )
    return [
        go.Scatter(
            x=times,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={
                "size": 9,
                "color": colour,
                "symbol": [symbol if w.drift.is_large_enough else f"{symbol}-open" for w in windows],
            },
            text=[f"{w.drift.requests:,} requests, {w.drift.verdict}" for w in windows],
            hovertemplate="%{x|%Y-%m-%d %H:%M:%S}<br>PSI %{y:.3f}<br>%{text}<extra>" + name + "</extra>",
        )
        for name, values, colour, symbol in series
    ]


def _class_mix(summary: Summary) -> Chart:
    groups, buckets = _class_groups(summary), summary.buckets
    indices = {name: index for index, name in enumerate(summary.classes)}

    def share(bucket: Bucket, members: Sequence[str]) -> float:
        return sum(bucket.tally.class_counts[indices[name]] for name in members) / bucket.requests

    traces: list[Trace] = [
        go.Bar(
            x=_bucket_middles(summary),
            y=[share(bucket, members) for _, bucket in buckets],
            name=name,
            marker={"color": colour},
            width=_bar_width(summary),
            hovertemplate="%{x|%Y-%m-%d %H:%M:%S}<br>%{y:.1%}<extra>" + name + "</extra>",
        )
        for name, members, colour in groups
    ]
    total = summary.total
    mix = ", ".join(f"{name} {share(total, members):.0%}" for name, members, _ in groups)
    return Chart(
        name="class-mix",
        heading="Class mix over time",
        text=f"Share of each predicted class, for each {_duration(summary.bucket_seconds)} with requests. All: {mix}.",
        figure=page.figure(
            traces,
            barmode="stack",
            bargap=0,
            xaxis=_time_axis(summary),
            yaxis={"title": {"text": "share of predictions"}, "tickformat": ".0%", "range": [0, 1]},
        ),
        alt=f"Stacked bars of the share of each class over time. Of all predictions: {mix}",
        table=Table(
            ["from", "requests", *(name for name, _, _ in groups)],
            [
                [_time(time), f"{bucket.requests:,}", *(f"{share(bucket, members):.1%}" for _, members, _ in groups)]
                for time, bucket in buckets
            ],
        ),
    )


def _under_threshold(summary: Summary) -> Chart:
    buckets, total = summary.buckets, summary.total
    shares = [bucket.under_threshold / bucket.requests for _, bucket in buckets]
    overall = total.under_threshold / summary.requests
    return Chart(
        name="under-threshold",
        heading=f"Share under the threshold of {summary.threshold:g}",
        text="These images are rejected, and need a person's decision.",
        figure=page.figure(
            [
                go.Scatter(
                    x=_bucket_middles(summary),
                    y=shares,
                    mode="lines+markers",
                    name="under the threshold",
                    line={"color": ORANGE, "width": 2},
                    marker={"size": 7},
                    text=[f"{bucket.under_threshold:,} of {bucket.requests:,}" for _, bucket in buckets],
                    hovertemplate="%{x|%Y-%m-%d %H:%M:%S}<br>%{y:.1%}<br>%{text}<extra></extra>",
                )
            ],
            xaxis=_time_axis(summary),
            yaxis={
                "title": {"text": "share of predictions"},
                "tickformat": ".0%",
                "range": [0, max(*shares, 0.1) * 1.15],
            },
            **page.bounds((overall, f"all {overall:.1%}", GREY)),
        ),
        alt=f"Share of predictions under the threshold over time: {overall:.1%} of all, at most {max(shares):.1%}",
        table=Table(
            ["from", "requests", "under", "share"],
            [
                [_time(time), f"{bucket.requests:,}", f"{bucket.under_threshold:,}", f"{share:.1%}"]
                for (time, bucket), share in zip(buckets, shares, strict=True)
            ],
        ),
    )


def _accuracy(summary: Summary) -> Section:
    heading = "Accuracy over time"
    windows = summary.labelled_windows(_LABELS_PER_POINT)
    if not windows:
        return Remark(
            heading,
            "No true classes are known for these images. Labels uploaded to ground-truth/ in the bucket are joined "
            "with the predictions.",
            is_wide=True,
        )
    total = summary.total
    shares = [bucket.correct / bucket.labelled for _, _, bucket in windows]
    intervals = [wilson_interval(bucket.correct, bucket.labelled) for _, _, bucket in windows]
    overall = total.correct / total.labelled
    return Chart(
        name="accuracy",
        heading=heading,
        text=(
            f"Share of correct predictions among the {total.labelled:,} of {summary.requests:,} whose true "
            "class is known, with the 95% Wilson interval."
        ),
        figure=page.figure(
            [
                go.Scatter(
                    x=[_middle(start, end) for start, end, _ in windows],
                    y=shares,
                    mode="lines+markers",
                    name="accuracy",
                    line={"color": GREEN, "width": 2},
                    marker={"size": 7},
                    error_y=page.error_bars(shares, intervals),
                    text=[f"{bucket.correct:,} of {bucket.labelled:,}" for _, _, bucket in windows],
                    hovertemplate="%{x|%Y-%m-%d %H:%M:%S}<br>%{y:.1%}<br>%{text}<extra></extra>",
                )
            ],
            xaxis=_time_axis(summary),
            yaxis={
                "title": {"text": "correct predictions"},
                "tickformat": ".0%",
                "range": [max(0.0, min(low for low, _ in intervals) - 0.05), 1.03],
            },
            **page.bounds((overall, f"all {overall:.1%}", GREY)),
        ),
        alt=f"Accuracy over time: {overall:.1%} of {total.labelled:,} labelled predictions are correct",
        table=Table(
            ["from", "to", "labelled", "correct", "accuracy", "95% interval"],
            [
                [
                    _time(start),
                    _time(end),
                    f"{bucket.labelled:,}",
                    f"{bucket.correct:,}",
                    f"{bucket.correct / bucket.labelled:.1%}",
                    f"{low:.1%} to {high:.1%}",
                ]
                for (start, end, bucket), (low, high) in zip(windows, intervals, strict=True)
            ],
        ),
        is_wide=True,
    )


def _least_confident(summary: Summary) -> Section:
    least_confident = summary.least_confident
    years = {prediction.time.year for prediction in least_confident}
    time_format = "%m-%d %H:%M:%S" if len(years) == 1 else "%Y-%m-%d %H:%M:%S"
    has_several_models = len({prediction.model for prediction in least_confident}) > 1
    return Gallery(
        "Least confident predictions",
        "The images with the lowest confidence, as the endpoint received them.",
        [_picture(prediction, time_format, with_model=has_several_models) for prediction in least_confident],
        Table(
            ["time", "image", "event id", "prediction", "confidence", "", "true class", "model"],
            [
                [
                    _time(a.time),
                    a.key or "not known",
                    a.event_id,
                    a.label,
                    confidence_text(a.confidence),
                    "accepted" if a.is_accepted else "rejected",
                    a.true_label or "not known",
                    a.model or "not known",
                ]
                for a in least_confident
            ],
        ),
    )


def _picture(prediction: LeastConfident, time_format: str, *, with_model: bool) -> Picture:
    marks: list[Mark] = []
    if prediction.true_label is not None:
        is_correct = prediction.true_label == prediction.label
        marks.append(Mark("correct", "good") if is_correct else Mark(f"wrong: {prediction.true_label}", "bad"))
    if not prediction.is_accepted:
        marks.append(Mark("rejected", "warning"))
    confidence = confidence_text(prediction.confidence)
    said = "".join(f", {mark.text}" for mark in marks)
    return Picture(
        thumbnail(prediction.image),
        alt=f"Captured image: {prediction.label} with confidence {confidence} at {_time(prediction.time)}{said}",
        caption=[
            f"{prediction.label} {confidence}",
            *([prediction.key] if prediction.key else []),
            f"{prediction.time:{time_format}}",
            *([prediction.model] if with_model and prediction.model else []),
        ],
        marks=marks,
    )


def thumbnail(data: bytes | None) -> bytes | None:
    """The image as a small PNG, or None if it cannot be shown."""
    if data is None:
        return None
    try:
        check_image(data, name="captured")  # checks the size before any pixel is decoded
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            image.draft("RGB", (_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))  # decode a JPEG at an eighth of its size
            small = image.convert("RGB")
        small.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    except (ImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    return buffer.getvalue()


def _class_groups(summary: Summary) -> list[tuple[str, list[str], str]]:
    """Name, members and colour of each series of a plot: each class, or the most frequent and the others."""
    if len(summary.classes) <= _SHOWN_CLASSES:
        return [(name, [name], colour) for name, colour in zip(summary.classes, CLASS_COLOURS, strict=False)]
    counts = dict(zip(summary.classes, summary.total.tally.class_counts, strict=True))
    ordered = sorted(counts, key=lambda name: -counts[name])
    groups = [(name, [name], colour) for name, colour in zip(ordered[:_SHOWN_CLASSES], CLASS_COLOURS, strict=True)]
    return [*groups, ("other classes", ordered[_SHOWN_CLASSES:], GREY)]


def _bin_names(edges: Sequence[float]) -> list[str]:
    """Names of the bins of confidence between `edges`. They are distinct, because a plot merges equal ones."""
    shown = _edge_names(edges)
    if len(edges) == 1:
        return [f"under {shown[0]}", f"{shown[0]} and above"]
    return [f"under {shown[0]}", *(f"{a} to {b}" for a, b in pairwise(shown)), f"from {shown[-1]}"]


def _edge_names(edges: Sequence[float]) -> list[str]:
    """Rounded to the fewest digits of 1 - confidence that distinguish them, at least two."""
    for digits in range(2, 17):
        shown = [f"{1 - float(f'{1 - edge:.{digits}g}'):.15g}" for edge in edges]
        if len(set(shown)) == len(edges):
            break
    return shown


def _middle(start: datetime, end: datetime) -> datetime:
    """The middle of the captures from `start` to before `end`. Captures have whole seconds."""
    return start + (end - timedelta(seconds=1) - start) / 2


def _bucket_middles(summary: Summary) -> list[datetime]:
    width = timedelta(seconds=summary.bucket_seconds)
    return [_middle(time, time + width) for time, _ in summary.buckets]


def _time_axis(summary: Summary) -> dict[str, object]:
    """The time axis of every plot of a report: all buckets, with a margin."""
    first, last = summary.buckets[0][0], summary.buckets[-1][0] + timedelta(seconds=summary.bucket_seconds - 1)
    margin = max(timedelta(seconds=0.6), (last - first) / 50)
    return {"type": "date", "tickangle": 0, "range": [first - margin, last + margin]}


def _bar_width(summary: Summary) -> float:
    return summary.bucket_seconds * 1000  # plotly.js measures time in milliseconds


def _span(summary: Summary) -> str:
    assert summary.first  # noqa: S101 - there are requests
    assert summary.last  # noqa: S101
    return f"{_time(summary.first)} to {_time(summary.last)}"


def _age(summary: Summary) -> str:
    """The time span of the captures, rounded up."""
    assert summary.first  # noqa: S101 - there are requests
    assert summary.last  # noqa: S101
    seconds = (summary.last - summary.first).total_seconds()
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{math.ceil(seconds / size)} {unit}"
    return f"{max(1, math.ceil(seconds))} s"


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def _duration(seconds: int) -> str:
    for unit, size in (("weeks", 604_800), ("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _percent(count: int, total: int) -> str:
    return f"{count / total:.1%}"
