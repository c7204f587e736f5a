"""SerializeImageData: read one image from S3 and put it into the item as base64."""

import base64
import json

from lambda_src.shared import metrics
from lambda_src.shared.errors import ImageTooLargeError
from lambda_src.shared.image_format import check_image
from lambda_src.shared.item import ImageRef, Item
from lambda_src.shared.stored_image import read_image

# The input of a Step Functions state holds 256 KiB. In base64 this is 253,336 bytes, which leaves 8 kB for the rest.
MAX_IMAGE_BYTES = 190_000
# The item's share of these 262,144 bytes; Step Functions adds the invocation's metadata. Beyond the limit it ends the
# whole execution with an error that no state can catch, so the function refuses such an item first.
MAX_ITEM_BYTES = 258_000


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes `{"s3_bucket", "s3_key"}` and optionally `"s3_version_id"`; returns it with `image_data` (base64) and the
    version.

    Raises InvalidInputError, or the ImageError that describes what is wrong with the image.
    """
    image = ImageRef.of(event)
    stored = read_image(image, at_most=MAX_IMAGE_BYTES)
    check_image(stored.data, name=image.uri)
    image_data = base64.b64encode(stored.data).decode("ascii")
    item = {**event, "image_data": "", "s3_version_id": stored.version_id}
    # JSON with escapes is never shorter than UTF-8, so this is an upper bound. Base64 has nothing to escape.
    size = len(json.dumps(item)) + len(image_data)
    if size > MAX_ITEM_BYTES:
        raise ImageTooLargeError(
            f"{size:,} bytes with the item's other members; the workflow accepts at most {MAX_ITEM_BYTES:,}: "
            f"{image.uri}"
        )
    return {**item, "image_data": image_data}
