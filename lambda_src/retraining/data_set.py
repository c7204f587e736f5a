"""Where a data set lies in the bucket, and its `.lst` files as they are read there."""

from collections.abc import Iterator

from lambda_src.retraining.errors import InvalidDataSetError
from lambda_src.retraining.lst_file import ListLine, parse_lines
from lambda_src.shared import aws

# Prefix of the images and key of the .lst file of each split, as data_prep uploads them
SPLITS = {"train": ("train/", "train_lst/train.lst"), "test": ("test/", "test_lst/test.lst")}


def text_lines(bucket: str, key: str) -> Iterator[str]:
    """A text object's lines, streamed; raises InvalidDataSetError if there is none."""
    try:
        body = aws.s3().get_object(Bucket=bucket, Key=key)["Body"]
    except aws.s3().exceptions.NoSuchKey:
        raise InvalidDataSetError(f"s3://{bucket}/{key} does not exist: upload a data set first") from None
    for line in body.iter_lines():
        yield line.decode("utf-8", "surrogateescape")


def validation_lines(bucket: str) -> Iterator[ListLine]:
    """The validation images of a data set that has been checked."""
    for _, line in parse_lines(text_lines(bucket, SPLITS["test"][1])):
        if isinstance(line, ListLine):
            yield line
