"""The pictures that wait for a label, and their order."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lambda_src.shared.item import ImageRef
from ops import aws
from ops.review.queue import MOST_ACCEPTED, Outcomes, waiting, worth_a_look
from tests.unit.ops.review.conftest import AT, BUCKET, Account, item, outcome_of

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def outcome(picture: str, **values: Any) -> Any:
    return outcome_of(ImageRef(BUCKET, f"incoming/{picture}", "v1"), **values)


def test_rejected_pictures_wait_the_oldest_first(account: Account) -> None:
    later = AT + timedelta(seconds=1, microseconds=5)
    old, new = outcome("b", confidence=0.7), outcome("a", confidence=0.5, at=later)
    sure = outcome("c", name="ACCEPTED", confidence=0.95)
    failed = {"outcome": "FAILED", "s3_key": "incoming/d", "error": "CorruptImageError"}
    account.manifest_of("second", [item(new)], at=later)
    account.manifest_of("first", [item(old), item(sure), failed])
    found = Outcomes(BUCKET).refresh(LONG_AGO).values()
    assert waiting(found, ()) == [old, new]
    assert waiting(found, (), order="least-sure") == [new, old]
    assert waiting(found, (), order="least-sure", accepted=True) == [new, old, sure]
    assert waiting(found, [old.id]) == [new]


def test_the_latest_outcome_of_a_picture_counts(account: Account) -> None:
    account.manifest_of("a", [item(outcome("x"))])
    outcomes = Outcomes(BUCKET)
    assert len(waiting(outcomes.refresh(LONG_AGO).values(), ())) == 1
    again = outcome("x", name="ACCEPTED", confidence=0.99)
    account.manifest_of("b", [item(again)], at=AT + timedelta(hours=1))
    account.manifest_of("c", [item(outcome("x"))], at=AT - timedelta(hours=1))
    assert waiting(outcomes.refresh(LONG_AGO).values(), ()) == []


def test_a_bulk_runs_outcomes_are_in_the_files_that_its_manifest_names(account: Account) -> None:
    rejected = [outcome("1"), outcome("2")]
    for number, each in enumerate(rejected):
        account.put(f"manifests/run/{number}.jsonl", f"{json.dumps(item(each))}\n\n".encode())
    account.put("manifests/run/manifest.json", b"{}")
    uris = [f"s3://{BUCKET}/manifests/run/{number}.jsonl" for number in range(2)]
    account.manifest_of("run", {"SUCCEEDED": uris, "FAILED": [], "PENDING": []})
    outcomes = Outcomes(BUCKET)
    assert {o.id for o in waiting(outcomes.refresh(LONG_AGO).values(), ())} == {o.id for o in rejected}
    assert outcomes.unreadable == {}


def test_a_manifest_is_read_once(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.manifest_of("a", [item(outcome("x"))])
    outcomes = Outcomes(BUCKET)
    outcomes.refresh(LONG_AGO)

    def unexpected(**_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(aws.s3(), "get_object", unexpected)
    assert len(outcomes.refresh(LONG_AGO)) == 1
    assert len(outcomes.refresh(datetime.now(UTC) + timedelta(days=1))) == 0


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"started_at": "2026-11-25T08:00:00Z"}', b'{"started_at": 5, "outcomes": []}',
     b'{"started_at": "2026-11-25T08:00:00Z", "outcomes": [{"outcome": "REJECTED"}]}',
     b'{"started_at": "2026-11-25T08:00:00Z", "outcomes": [5]}'],
)  # fmt: skip
def test_a_broken_manifest_is_named_and_the_others_are_read(account: Account, body: bytes) -> None:
    account.put("manifests/broken.json", body)
    account.manifest_of("good", [item(outcome("x"))])
    outcomes = Outcomes(BUCKET)
    assert len(outcomes.refresh(LONG_AGO)) == 1
    assert list(outcomes.unreadable) == ["manifests/broken.json"]


def test_the_accepted_pictures_with_the_lowest_confidence_are_kept() -> None:
    many = [outcome(str(n), name="ACCEPTED", confidence=0.9 + n / 100_000) for n in range(MOST_ACCEPTED + 100)]
    rejected = [outcome("r", confidence=0.3)]
    assert worth_a_look([*many[::-1], *rejected]) == [*many[:MOST_ACCEPTED], *rejected]
