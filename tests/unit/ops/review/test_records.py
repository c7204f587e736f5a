"""Reviews by several people at once, and through interruptions."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambda_src.monitoring.captures import ParseErrors
from lambda_src.monitoring.ground_truth import Label, read_bucket_labels
from lambda_src.shared.item import ImageRef
from ops import aws
from ops.errors import OpsError
from ops.review.records import AlreadyReviewedError, Records, key_of
from tests.unit.ops.review.conftest import BUCKET, Account, outcome_of

CLASSES = ("bicycle", "motorcycle")


def truth(parse_errors: ParseErrors | None = None) -> list[Label]:
    parse_errors = parse_errors or ParseErrors()
    labels = list(
        read_bucket_labels(
            aws.s3(), BUCKET, classes=CLASSES, parse_errors=parse_errors, since=datetime(2026, 1, 1, tzinfo=UTC)
        )
    )
    assert parse_errors.count == 0, parse_errors.examples
    return labels


@pytest.fixture
def ann(account: Account) -> Records:
    return account.records


@pytest.fixture
def bob(account: Account) -> Records:
    """Another process."""
    return Records(BUCKET)


@pytest.mark.parametrize("name", ["a.png", "日本 & <b>.png", "a\tb\u202e.png"])
def test_a_label_is_ground_truth_at_once(account: Account, ann: Records, name: str) -> None:
    image = account.picture(name)
    review = ann.label(outcome_of(image), "motorcycle", reviewer="ann")
    assert truth() == [Label(1, None, image)]
    assert Records(BUCKET).refresh() == {image.inference_id: review}


def test_neither_is_a_review_and_no_ground_truth(account: Account, ann: Records) -> None:
    review = ann.label(outcome_of(account.picture("cat.png")), None, reviewer="ann")
    assert (review.decision, review.is_open) == ("neither", False)
    assert truth() == []


def test_the_second_of_two_reviewers_sees_the_label_of_the_first(account: Account, ann: Records, bob: Records) -> None:
    outcome = outcome_of(account.picture("a.png"))
    bob.refresh()
    ann.label(outcome, "bicycle", reviewer="ann")
    with pytest.raises(AlreadyReviewedError, match=r"^ann labelled it bicycle at .* UTC meanwhile: nothing"):
        bob.label(outcome, "motorcycle", reviewer="bob")
    assert truth() == [Label(0, None, outcome.image)]


def test_one_of_two_concurrent_writes_is_refused(
    account: Account, ann: Records, bob: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = outcome_of(account.picture("a.png"))
    put = aws.s3().put_object

    def overtaken(**request: Any) -> Any:
        monkeypatch.setattr(aws.s3(), "put_object", put)
        bob.label(outcome, None, reviewer="bob")
        return put(**request)

    monkeypatch.setattr(aws.s3(), "put_object", overtaken)
    with pytest.raises(AlreadyReviewedError, match=r"^bob said neither"):
        ann.label(outcome, "bicycle", reviewer="ann")
    assert truth() == []
    assert [review.reviewer for review in ann.refresh().values()] == ["bob"]


def test_a_lost_response_is_not_taken_for_another_persons_label(
    account: Account, ann: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 sends the request again, whose condition does not hold then."""
    outcome = outcome_of(account.picture("a.png"))
    put = aws.s3().put_object

    def sent_twice(**request: Any) -> Any:
        put(**request)
        return put(**request)

    monkeypatch.setattr(aws.s3(), "put_object", sent_twice)
    assert ann.label(outcome, "bicycle", reviewer="ann").label == "bicycle"


def test_a_picture_whose_review_was_undone_waits_again_and_has_no_ground_truth(
    account: Account, ann: Records, bob: Records
) -> None:
    outcome = outcome_of(account.picture("a.png"))
    ann.label(outcome, "bicycle", reviewer="ann")
    assert ann.undo(outcome.id, reviewer="ann").is_open
    assert truth() == []
    bob.label(outcome, "motorcycle", reviewer="bob")
    assert truth() == [Label(1, None, outcome.image)]


def test_another_persons_review_is_not_undone(account: Account, ann: Records, bob: Records) -> None:
    outcome = outcome_of(account.picture("a.png"))
    ann.label(outcome, "bicycle", reviewer="ann")
    with pytest.raises(AlreadyReviewedError, match=r"^ann labelled it bicycle"):
        bob.undo(outcome.id, reviewer="bob")
    with pytest.raises(OpsError, match="no review to undo"):
        ann.undo(outcome_of(account.picture("b.png")).id, reviewer="ann")


def test_undo_removes_one_label_at_a_time_also_in_another_process(account: Account, ann: Records) -> None:
    outcomes = [outcome_of(account.picture(f"{number}.png")) for number in range(3)]
    for outcome in outcomes:
        ann.label(outcome, "bicycle", reviewer="ann")
    ann.label(outcome_of(account.picture("x.png")), "bicycle", reviewer="bob")
    after_a_restart = Records(BUCKET)
    for outcome in reversed(outcomes):
        after_a_restart.refresh()
        latest = after_a_restart.latest_of("ann")
        assert latest
        assert latest.outcome == outcome
        after_a_restart.undo(outcome.id, reviewer="ann")
    assert after_a_restart.latest_of("ann") is None


def test_another_version_of_a_picture_is_another_picture(account: Account, ann: Records) -> None:
    first, second = (outcome_of(account.picture("a.png", seed)) for seed in (1, 2))
    ann.label(first, "bicycle", reviewer="ann")
    ann.label(second, "motorcycle", reviewer="ann")
    assert len(truth()) == 2


def test_a_review_is_read_again_only_when_it_has_changed(
    account: Account, ann: Records, bob: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [outcome_of(account.picture(f"{number}.png")) for number in range(3)]
    for outcome in outcomes:
        ann.label(outcome, "bicycle", reviewer="ann")
    bob.refresh()
    ann.undo(outcomes[1].id, reviewer="ann")
    reads, get = [], aws.s3().get_object

    def noted(**request: Any) -> Any:
        reads.append(request["Key"])
        return get(**request)

    monkeypatch.setattr(aws.s3(), "get_object", noted)
    assert sum(review.is_open for review in bob.refresh().values()) == 1
    assert reads == [key_of(outcomes[1].id)]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"label": "bicycle"}', b'{"s3_bucket": "b", "s3_key": ""}'])
def test_a_broken_review_is_named_and_the_others_are_read(account: Account, ann: Records, body: bytes) -> None:
    account.put(key_of("broken"), body)
    outcome = outcome_of(account.picture("a.png"))
    ann.label(outcome, "bicycle", reviewer="ann")
    assert list(ann.refresh()) == [outcome.id]
    assert list(ann.unreadable) == [key_of("broken")]


def test_a_review_of_another_picture_under_this_ones_name_is_broken(account: Account, ann: Records) -> None:
    one, other = (outcome_of(ImageRef(BUCKET, key, "v")) for key in ("incoming/1", "incoming/2"))
    account.put(key_of(other.id), ann.label(one, "bicycle", reviewer="ann").as_line())
    assert list(ann.refresh()) == [one.id]
    assert "is the review of another picture" in ann.unreadable[key_of(other.id)]


def test_a_missing_permission_is_not_taken_for_another_review(
    account: Account, ann: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")

    outcome = outcome_of(account.picture("a.png"))
    monkeypatch.setattr(aws.s3(), "put_object", denied)
    with pytest.raises(ClientError, match="AccessDenied"):
        ann.label(outcome, "bicycle", reviewer="ann")
