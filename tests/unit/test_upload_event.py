import pytest

from stacks.classification.upload_event import image_key
from tests.unit.ops.conftest import upload_event


@pytest.mark.parametrize(
    ("started_with", "key"),
    [
        (upload_event("incoming/a.png")["detail"], "incoming/a.png"),
        ({"image_data": "", "s3_bucket": "b", "s3_key": "test/a.png"}, "test/a.png"),
        ({"images": []}, ""),
        ({"object": {}}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_image_of_an_execution_is_found_in_either_input(started_with: object, key: str) -> None:
    assert image_key(started_with) == key
