"""SerializeImageData: read one image from S3 and put it into the item as base64."""

import base64
import json

from lambda_src.shared import metrics
from lambda_src.shared.errors import (
    ImageTooLargeError,
)
from lambda_src.shared.image_format import check_image
from lambda_src.shared.item import ImageRef, Item
from lambda_src.shared.stored_image import read_image

# A Step Functions state holds 256 KiB; base64 makes 253,336 bytes of these, which leaves 8 kB for the rest
MAX_IMAGE_BYTES = 190_000
# The item's share of the 262,144 bytes; the invocation's metadata comes on top. Beyond the limit Step Functions ends
# the whole execution with an error that no state can catch, so it must not get that far.
MAX_ITEM_BYTES = 258_000


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes `{"s3_bucket", "s3_key"}` and maybe `"s3_version_id"`; returns the item with `image_data` and the version.

    Raises InvalidInputError or an ImageError, which says what is wrong with the image.
    """
    image = ImageRef.of(event)
    stored = read_image(image, at_most=MAX_IMAGE_BYTES)
    check_image(stored.data, name=image.uri)
    image_data = base64.b64encode(stored.data).decode("ascii")
    item = {**event, "image_data": "", "s3_version_id": stored.version_id}
    # As JSON, with escapes, so never less than it takes as UTF-8; base64 has nothing to escape
    size = len(json.dumps(item)) + len(image_data)
    if size > MAX_ITEM_BYTES:
        raise ImageTooLargeError(
            f"{size:,} bytes with the item's other members, the workflow takes at most {MAX_ITEM_BYTES:,}: {image.uri}"
        )
    return {**item, "image_data": image_data}
