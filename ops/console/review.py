"""The page Review: shows one picture at a time, with a key for each class, and a button that publishes the reviews.

The page's address has the reviewer's place and the bucket the reviews, so the process has no state.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from data_prep.dataset import MANIFEST, Manifest
from ops import aws
from ops.console.parts import Part, part
from ops.console.site import Site, site
from ops.console.views import page
from ops.errors import OpsError
from ops.review.command import summary
from ops.review.desk import Desk, Place, View
from ops.review.publication import not_published, publish
from ops.review.queue import place
from ops.review.records import AlreadyReviewedError

NEITHER = "neither"
# One for each class, without b, n, s and u (brighter, neither, skip, undo); further classes have buttons only
KEYS = "1234567890acdefghijklmopqrtvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class _Ready:
    """The number of labelled pictures that the data set lacks, or has with another label."""

    count: int
    neither: int


def review(request: Request) -> Response:
    return _page(request)


def label(request: Request) -> Response:
    """Expects `image`, an inference id, and `label`, a class or `neither`."""
    form, desk = request.state.form, _desk(request)
    wanted = form.get("label", "")
    if wanted not in {NEITHER, *site(request).config.classes}:
        return _page(request, problem=f"{wanted or 'Nothing'} is no class of this environment.", status=400)

    def store() -> str:
        outcome = desk.outcome(form.get("image", ""))
        if outcome is None:
            raise OpsError("That picture is not in the queue any more.")
        try:
            desk.label(outcome, None if wanted == NEITHER else wanted)
        except AlreadyReviewedError as error:
            return error.review.outcome.id
        return ""

    def go_on(conflict: str) -> dict[str, str]:
        """Continue at another place after a conflict, if the queue is long, so that two reviewers do not meet again."""
        further = desk.further(_place(form)) if conflict else None
        return ({"conflict": conflict} if conflict else {}) | ({"after": "~".join(further)} if further else {})

    return _changed(request, store, go_on)


def undo(request: Request) -> Response:
    """Undo the reviewer's latest label and show its picture again."""
    desk = _desk(request)

    def take_back() -> str:
        undone = desk.undo()
        return undone.outcome.id if undone else ""

    return _changed(request, take_back, lambda image: {"image": image} if image else {})


def publish_reviews(request: Request) -> Response:
    shown, desk = site(request), _desk(request)
    done: Part[list[str]] = part(
        lambda: summary(publish(shown.config, records=desk.records), shown.bucket, retrains=_retrains(shown)),
        on=f"s3://{shown.bucket}",
    )
    return _page(request, published=done, status=409 if done.missing else 200)


def _changed(request: Request, change: Any, parameters: Any) -> Response:
    """Make a change, then show the next picture."""
    done: Part[str] = part(change, on=f"s3://{site(request).bucket}/ground-truth/reviews/")
    if done.missing:
        return _page(request, problem=done.missing, status=409)
    query = urlencode(_query(_place(request.state.form)) | parameters(done.value))
    return RedirectResponse(f"/review?{query}" if query else "/review", 303)


def _page(
    request: Request, *, problem: str = "", published: Part[list[str]] | None = None, status: int = 200
) -> Response:
    values = request.query_params if request.method == "GET" else request.state.form
    at, shown, desk = _place(values), site(request), _desk(request)
    bucket = shown.bucket
    view: Part[View] = part(lambda: desk.view(at, wanted=values.get("image", "")), on=f"s3://{bucket}")
    ready = _ready(view, bucket)
    outcome = view.value.outcome if view.value else None
    keys = dict(zip(shown.config.classes, [*KEYS, *[""] * 100], strict=False))
    return page(
        request,
        "review.html",
        status=status,
        view=view,
        ready=ready,
        classes=keys,
        neither=NEITHER,
        at=at,
        fields=_query(at),
        address=_address,
        skip=_address(at, after=place(outcome, at.order)) if outcome else "",
        problem=problem or _conflict(desk, values.get("conflict", "")),
        published=published,
        retrains=_retrains(shown),
    )


def _conflict(desk: Desk, identifier: str) -> str:
    """Message that somebody else labelled the picture just before this reviewer."""
    found = part(lambda: desk.records.read(identifier), on="the review") if identifier else Part()
    return f"{AlreadyReviewedError(found.value)}. Go on with this one." if found.value else found.missing


def _ready(view: Part[View], bucket: str) -> Part[_Ready]:
    if view.value is None:
        return Part(missing=view.missing, error=view.error)
    reviews = view.value.reviews

    def read() -> _Ready:
        try:
            stored = aws.s3().get_object(Bucket=bucket, Key=MANIFEST)["Body"].read()
            manifest = Manifest.parse(stored, name=MANIFEST)
        except aws.s3().exceptions.NoSuchKey:
            manifest = None
        neither = sum(review.decision == "neither" for review in reviews)
        return _Ready(len(not_published(reviews, manifest)), neither)

    return part(read, on=f"s3://{bucket}/{MANIFEST}")


def _retrains(shown: Site) -> bool:
    return shown.config.retraining.enabled


def _place(values: Any) -> Place:
    """The reviewer's place from the page's address or a form, with defaults for missing values."""
    before, _, identifier = str(values.get("after", "")).partition("~")
    return Place(
        order="least-sure" if values.get("order") == "least-sure" else "oldest",
        accepted=values.get("accepted") == "1",
        after=(before, identifier) if identifier else None,
    )


def _query(at: Place) -> dict[str, str]:
    """The query that `_place` reads."""
    found = {"order": at.order if at.order != "oldest" else "", "accepted": "1" if at.accepted else ""}
    found["after"] = "~".join(at.after) if at.after else ""
    return {name: value for name, value in found.items() if value}


def _address(at: Place, **changes: Any) -> str:
    """The page's address with changes in order, selection or place."""
    query = urlencode(_query(Place(**({"order": at.order, "accepted": at.accepted} | changes))))
    return f"/review?{query}" if query else "/review"


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


ROUTES = [
    Route("/review", review),
    Route("/review/label", label, methods=["POST"]),
    Route("/review/undo", undo, methods=["POST"]),
    Route("/review/publish", publish_reviews, methods=["POST"]),
]
