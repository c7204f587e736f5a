"""Reviewed pictures in the data set, as seen by training and every other reader."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from data_prep.dataset import Manifest
from data_prep.errors import UploadError
from data_prep.images import decode
from data_prep.upload import upload_dataset
from lambda_src.retraining import validate_data_set
from lambda_src.retraining.errors import InvalidDataSetError
from lambda_src.retraining.lst_file import ListLine, parse_line
from lambda_src.shared import aws as lambda_aws
from lambda_src.shared import settings
from ops import aws
from ops.errors import OpsError
from ops.review.pictures import Picture
from ops.review.publication import ATTEMPTS, Publication, publish
from stacks.config import EnvironmentConfig
from tests.unit.ops.review.conftest import BUCKET, Account, outcome_of, pixels, png
from tests.unit.stored import place_folder

LISTS = {"train": "train_lst/train.lst", "test": "test_lst/test.lst"}
CLASSES = ("bicycle", "motorcycle")
MARKER = "train/_READY"


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch, account: Account) -> Any:
    """What ValidateDataSet says of the bucket: the digest, or that it refuses."""
    monkeypatch.setattr(lambda_aws, "s3", aws.s3)
    monkeypatch.setattr(settings, "bucket_name", lambda: BUCKET)
    monkeypatch.setattr(settings, "classes", lambda: CLASSES)

    def validate() -> str:
        try:
            return str(validate_data_set.handler({"run": "r"}, None)["data_digest"])
        except InvalidDataSetError:
            return "refused"

    return validate


@pytest.fixture
def writes(account: Account) -> Iterator[list[str]]:
    """The keys of the bucket that were written, in their order."""
    seen: list[str] = []

    def note(params: dict[str, Any], **_: object) -> None:
        seen.append(params["Key"])

    aws.s3().meta.events.register("provide-client-params.s3.PutObject", note)
    yield seen
    aws.s3().meta.events.unregister("provide-client-params.s3.PutObject", note)


def lines(account: Account, split: str) -> list[ListLine]:
    return [parse_line(line) for line in account.get(LISTS[split]).decode().splitlines()]


def reviewed(account: Account) -> dict[str, list[ListLine]]:
    return {split: [line for line in lines(account, split) if line.source == "reviewed"] for split in LISTS}


def manifest(account: Account) -> Manifest:
    return Manifest.parse(account.get("manifest.json"), name="manifest.json")


def several(account: Account, count: int = 10, first: int = 100) -> None:
    for number in range(first, first + count):
        account.reviewed(f"{number}.png", number, CLASSES[number % 2])


def test_reviewed_pictures_are_trained_on_and_validated_with(
    account: Account, config: EnvironmentConfig, data_set: Path, validated: Any, writes: list[str]
) -> None:
    before = {split: lines(account, split) for split in LISTS}
    several(account)
    account.reviewed("cat.png", 900, None)
    writes.clear()
    found = publish(config)
    assert writes[-4:] == [*LISTS.values(), "manifest.json", MARKER]
    assert len(writes) == 10 + 4
    assert all(key.startswith(("train/reviewed/", "test/reviewed/")) for key in writes[:-4])
    assert sum(found.added.values()) == found.published == 10
    assert (found.neither, found.left_out, found.started) == (1, (), True)
    assert validated() == found.data_digest == manifest(account).data_digest
    for split, added in reviewed(account).items():
        assert len(added) == found.added[split] > 0
        assert lines(account, split) == [*before[split], *added], "the data set's own lines stay as they are"
    labels = {image.s3_key: CLASSES[image.label] for image in manifest(account).reviewed}
    assert labels == {f"incoming/{number}.png": CLASSES[number % 2] for number in range(100, 110)}


def test_a_picture_is_resized_as_the_endpoint_sees_it(
    account: Account, config: EnvironmentConfig, data_set: Path
) -> None:
    wide = np.repeat(pixels(100, 64), 2, axis=1)
    account.reviewed("wide.png", png(np.dstack([wide, np.full((64, 128), 7, np.uint8)])), "bicycle")
    publish(config)
    ((key,),) = [keys for split in LISTS if (keys := account.keys(f"{split}/reviewed/"))]
    assert np.abs(decode(account.get(key), size=32).astype(int) - pixels(100)).mean() < 20


def test_the_share_of_validation_images_is_fixed(config: EnvironmentConfig, account: Account) -> None:
    review = account.records.label(outcome_of(account.picture("a.png")), "bicycle", reviewer="ann")
    rng = np.random.default_rng(1)
    pictures = [Picture(review, pixels=rng.integers(0, 256, (2, 2, 3), np.uint8)) for _ in range(2000)]
    assert sum(picture.split == "test" for picture in pictures) == pytest.approx(400, abs=60)


def test_nothing_is_written_if_nothing_is_new(
    account: Account, config: EnvironmentConfig, data_set: Path, writes: list[str]
) -> None:
    found = publish(config)
    assert (found.is_changed, found.published, found.started, writes) == (False, 0, False, [])
    several(account, 3)
    publish(config)
    writes.clear()
    again = publish(config)
    assert (again.is_changed, again.published, again.started, writes) == (False, 3, False, [])


def test_a_changed_or_removed_label_changes_the_data_set(
    account: Account, config: EnvironmentConfig, data_set: Path, validated: Any
) -> None:
    first, second = account.reviewed("1.png", 101, "bicycle"), account.reviewed("2.png", 102, "bicycle")
    original = account.get("manifest.json")
    publish(config)
    splits = {image.s3_key: image.split for image in manifest(account).reviewed}
    account.records.undo(first.id, reviewer="ann")
    account.records.undo(second.id, reviewer="ann")
    account.records.label(second, "motorcycle", reviewer="bob")
    found = publish(config)
    assert (found.removed, found.relabelled, found.published, found.started) == (1, 1, 1, True)
    (left,) = manifest(account).reviewed
    assert (left.s3_key, CLASSES[left.label], left.split) == (
        "incoming/2.png", "motorcycle", splits["incoming/2.png"]
    )  # fmt: skip
    assert validated() == found.data_digest
    account.records.undo(second.id, reviewer="bob")
    assert publish(config).removed == 1
    assert account.get("manifest.json") == original


@pytest.mark.parametrize(
    ("content", "label", "reason"),
    [
        (b"not a picture", "bicycle", "neither PNG nor JPEG"),
        (png(pixels(1))[:-30], "bicycle", "truncated PNG"),
        (png(np.zeros((40, 40, 3), np.uint8)), "bicycle", "blank: every pixel"),
        (100, "train", "'train' is not one of bicycle, motorcycle"),
        (1, "bicycle", "the same picture as train/train_0001.png"),
        (10_001, "bicycle", "the same picture as test/test_0001.png"),
    ],
)
def test_pictures_unfit_for_training_are_omitted_with_a_reason(
    account: Account, config: EnvironmentConfig, data_set: Path, content: bytes | int, label: str, reason: str
) -> None:
    body = png(pixels(content)) if isinstance(content, int) else content
    account.reviewed("bad.png", body, label)
    account.reviewed("good.png", 200, "bicycle")
    found = publish(config)
    ((uri, why),) = [(left.uri, left.reason) for left in found.left_out]
    assert uri == f"s3://{BUCKET}/incoming/bad.png"
    assert reason in why
    assert found.published == 1


def test_a_picture_that_is_gone_or_may_not_be_read_is_left_out(
    account: Account, config: EnvironmentConfig, data_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = account.reviewed("gone.png", 100, "bicycle").image
    aws.s3().delete_object(Bucket=BUCKET, Key=gone.key, VersionId=str(gone.version_id))
    assert "does not exist any more" in publish(config).left_out[0].reason
    account.reviewed("good.png", 200, "bicycle")
    get = aws.s3().get_object

    def denied(**request: Any) -> Any:
        if request["Key"].startswith("incoming/"):
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")
        return get(**request)

    monkeypatch.setattr(aws.s3(), "get_object", denied)
    assert {"s3:GetObjectVersion" in left.reason for left in publish(config).left_out} == {True}


def test_one_picture_with_two_labels_is_left_out(account: Account, config: EnvironmentConfig, data_set: Path) -> None:
    account.reviewed("a.png", 100, "bicycle")
    account.reviewed("b.png", 100, "motorcycle")
    account.reviewed("c.png", 101, "motorcycle")
    account.reviewed("d.png", 101, "motorcycle")
    found = publish(config)
    assert found.published == 1
    assert sorted(left.reason for left in found.left_out) == [
        "the same picture as s3://scones-dev-data/incoming/c.png",
        "the same picture has several labels: bicycle, motorcycle",
        "the same picture has several labels: bicycle, motorcycle",
    ]


def changed(values: Any, seed: int) -> Any:
    """The same picture, mirrored, in a quarter of its light, with noise."""
    noise = np.random.default_rng(seed).normal(0, 4, values.shape)
    return (values[:, ::-1] * 0.25 + noise).clip(0, 255).astype(np.uint8)


def test_a_near_duplicate_is_never_in_the_other_list(
    account: Account, config: EnvironmentConfig, data_set: Path
) -> None:
    for number in range(2):
        account.reviewed(f"of-test-{number}.png", png(changed(pixels(10_000 + number), number)), "bicycle")
    for number in range(2):
        account.reviewed(f"of-train-{number}.png", png(changed(pixels(number), number)), "bicycle")
    for number in range(100, 106):
        account.reviewed(f"{number}.png", number, "bicycle")
        account.reviewed(f"{number}-again.png", png(changed(pixels(number), number)), "bicycle")
    publish(config)
    several(account, 6, first=400)
    publish(config)
    for number in range(400, 406):
        account.reviewed(f"{number}-again.png", png(changed(pixels(number), number)), "bicycle")
    found = publish(config)
    assert found.left_out == ()
    splits = {image.s3_key.removeprefix("incoming/"): image.split for image in manifest(account).reviewed}
    assert {split for name, split in splits.items() if name.startswith("of-test")} == {"test"}
    assert {split for name, split in splits.items() if name.startswith("of-train")} == {"train"}
    again = {name: split for name, split in splits.items() if name.endswith("-again.png")}
    assert set(again.values()) == {"train", "test"}
    assert all(split == splits[name.replace("-again", "")] for name, split in again.items())


def test_a_near_duplicate_of_both_lists_is_omitted(account: Account, config: EnvironmentConfig, data_set: Path) -> None:
    lists = {image: pixels(image) for image in (0, 10_000)}
    both = sum(values.astype(float) for values in lists.values()) / 2
    for share in (0.9, 0.1):  # one nearer to each, so that they are in both lists
        values = share * lists[0] + (1 - share) * lists[10_000]
        account.reviewed(f"{share}.png", png(values.astype(np.uint8)), "bicycle")
    publish(config)
    account.reviewed("nearer.png", png((0.7 * lists[0] + 0.3 * lists[10_000]).astype(np.uint8)), "bicycle")
    account.reviewed("between.png", png(both.astype(np.uint8)), "bicycle")
    publish(config)
    splits = {image.s3_key: image.split for image in manifest(account).reviewed}
    assert splits["incoming/0.9.png"] == "train"
    assert splits["incoming/0.1.png"] == "test"


KEYS = ["incoming/ein Fahrrad & mehr/日本.png", "incoming/<script>alert(1)</script>.png", "incoming/a\tb%2f+c.png"]


@pytest.mark.parametrize("key", KEYS)
def test_a_picture_may_have_any_name(
    account: Account, config: EnvironmentConfig, data_set: Path, validated: Any, key: str
) -> None:
    account.reviewed(key.removeprefix("incoming/"), 100, "bicycle")
    found = publish(config)
    assert [image.s3_key for image in manifest(account).reviewed] == [key]
    assert validated() == found.data_digest


class _KilledError(Exception):
    """Whatever ends a process."""


def test_an_interruption_at_any_write_is_made_good_by_the_next_publication(
    account: Account, config: EnvironmentConfig, data_set: Path, validated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = manifest(account).data_digest
    several(account, 2)
    whole: Publication | None = None
    put = aws.s3().put_object
    seen, left = set(), 0

    def interrupted(**request: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise _KilledError
        return put(**request)

    for survived in range(9):
        for key in account.keys("t"):
            if key == MARKER or "/reviewed/" in key:
                aws.s3().delete_object(Bucket=BUCKET, Key=key)
        place_folder(BUCKET, data_set)
        with monkeypatch.context() as patch:
            left = survived
            patch.setattr(aws.s3(), "put_object", interrupted)
            try:
                publish(config)
                break
            except _KilledError:
                pass
        state = validated()
        seen.add(state)
        assert state in {before, "refused", whole.data_digest if whole else manifest(account).data_digest}
        whole = publish(config)
        assert validated() == whole.data_digest != before
        assert account.get(MARKER).decode() == whole.data_digest, "retraining starts also after an interruption"
    else:
        pytest.fail("a publication never got through")
    assert whole
    assert seen == {before, "refused", whole.data_digest}
    assert survived == 2 + 4


def test_a_reader_between_two_writes_sees_all_or_refuses(
    account: Account, config: EnvironmentConfig, data_set: Path, validated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [validated()]
    several(account, 5)
    put = aws.s3().put_object

    def watched(**request: Any) -> Any:
        answer = put(**request)
        if not request["Key"].startswith("retraining/"):  # the reader's own
            states.append(validated())
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(aws.s3(), "put_object", watched)
        found = publish(config)
    assert set(states) == {states[0], "refused", found.data_digest}
    assert states == sorted(states, key=[states[0], "refused", found.data_digest].index), "and never goes back"


@pytest.mark.parametrize("moment", range(1, 6))
def test_two_who_publish_at_once_lose_nothing(
    account: Account,
    config: EnvironmentConfig,
    data_set: Path,
    validated: Any,
    monkeypatch: pytest.MonkeyPatch,
    moment: int,
) -> None:
    """The other publishes before any write of this one, with a picture that this one does not know of."""
    several(account, 1)
    publish(config)
    several(account, 1, first=1000)
    put, writes = aws.s3().put_object, 0

    def after_the_other(**request: Any) -> Any:
        nonlocal writes
        writes += 1
        if writes == moment:
            with monkeypatch.context() as patch:
                patch.setattr(aws.s3(), "put_object", put)
                account.reviewed("other.png", 5000, "bicycle")
                publish(config)
        return put(**request)

    with monkeypatch.context() as patch:
        patch.setattr(aws.s3(), "put_object", after_the_other)
        publish(config)
    assert writes >= moment
    publish(config)
    assert len(manifest(account).reviewed) == 3
    assert validated() == manifest(account).data_digest


def test_a_publication_that_is_overtaken_every_time_reports_it(
    account: Account, config: EnvironmentConfig, data_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several(account, 1)
    put = aws.s3().put_object

    def conflict(**request: Any) -> Any:
        if request["Key"] == LISTS["test"]:
            raise ClientError({"Error": {"Code": "ConditionalRequestConflict", "Message": "busy"}}, "PutObject")
        return put(**request)

    monkeypatch.setattr(aws.s3(), "put_object", conflict)
    with pytest.raises(OpsError, match=f"changed {ATTEMPTS} times while it was read: others publish or upload"):
        publish(config)


def test_a_run_in_progress_does_not_see_its_data_change(
    account: Account, config: EnvironmentConfig, data_set: Path, writes: list[str]
) -> None:
    several(account, 1)
    writes.clear()
    account.running = [{"executionArn": "arn:run", "startDate": outcome_of(account.picture("x.png")).at}]
    writes.clear()
    with pytest.raises(OpsError, match=r"in progress since 2026-11-25 08:00:00, .*publish when it has ended \(arn:run"):
        publish(config)
    assert writes == []


def test_a_bucket_without_a_data_set_takes_no_pictures(account: Account, config: EnvironmentConfig) -> None:
    several(account, 1)
    with pytest.raises(OpsError, match=r"manifest\.json does not exist, .*`python -m data_prep upload`"):
        publish(config)


def test_a_data_set_of_other_classes_takes_no_pictures(
    account: Account, config: EnvironmentConfig, data_set: Path
) -> None:
    other = config.model_copy(update={"classes": ("bee", "apple")})
    with pytest.raises(
        OpsError, match=r"data set of bicycle, motorcycle, and the environment's classes are bee, apple"
    ):
        publish(other)


@pytest.mark.parametrize(
    ("key", "body", "reason"),
    [
        ("train/train_0001.png", png(pixels(77)), "the data digest differs"),
        ("test/test_0001.png", b"", "neither PNG nor JPEG, but empty"),
        (LISTS["train"], b"0\t0\ttrain_0000.png\n", "the data digest differs"),
        (LISTS["train"], b"0\t0\tnowhere.png\n", "train/nowhere.png does not exist"),
        (LISTS["train"], b"hello\n", "1 fields instead of"),
    ],
)
def test_a_data_set_that_is_not_its_manifests_is_left_alone(
    account: Account, config: EnvironmentConfig, data_set: Path, writes: list[str], key: str, body: bytes, reason: str
) -> None:
    several(account, 1)
    account.put(key, body)
    writes.clear()
    with pytest.raises(OpsError, match=reason):
        publish(config)
    assert writes == []


def test_an_upload_does_not_take_reviewed_pictures_away_untold(
    account: Account, config: EnvironmentConfig, data_set: Path, validated: Any, writes: list[str]
) -> None:
    several(account, 5)
    published = publish(config)
    writes.clear()
    with pytest.raises(
        UploadError, match=r"5 reviewed pictures, .*upload --delete-extra.*`python -m ops review publish`"
    ):
        upload_dataset(data_set, BUCKET, delete_extra=True)
    assert writes == []
    assert validated() == published.data_digest
    upload_dataset(data_set, BUCKET, delete_extra=True, delete_reviewed=True)
    assert validated() == json.loads((data_set / "manifest.json").read_bytes())["data_digest"]
    assert publish(config).data_digest == validated() == published.data_digest


def test_an_error_of_aws_is_not_taken_for_another_publication(
    account: Account, config: EnvironmentConfig, data_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several(account, 1)

    def lost(**_: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="https://s3")

    monkeypatch.setattr(aws.s3(), "put_object", lost)
    with pytest.raises(EndpointConnectionError):
        publish(config)
