"""The layout of a data set in the bucket, and functions that read its `.lst` files."""

from collections.abc import Iterator

from lambda_src.retraining.errors import InvalidDataSetError
from lambda_src.retraining.lst_file import ListLine, parse_lines
from lambda_src.shared import aws

# Prefix of the images and key of the .lst file of each split, as data_prep uploads them
SPLITS = {"train": ("train/", "train_lst/train.lst"), "test": ("test/", "test_lst/test.lst")}


def text_lines(bucket: str, key: str) -> Iterator[str]:
    """The lines of a text object, streamed; raises InvalidDataSetError if it does not exist."""
    try:
        body = aws.s3().get_object(Bucket=bucket, Key=key)["Body"]
    except aws.s3().exceptions.NoSuchKey:
        raise InvalidDataSetError(f"s3://{bucket}/{key} does not exist: upload a data set first") from None
    for line in body.iter_lines():
        yield line.decode("utf-8", "surrogateescape")


def validation_lines(bucket: str) -> Iterator[ListLine]:
    """The lines that name the validation images. Malformed lines are skipped: ValidateDataSet has reported them."""
    for _, line in parse_lines(text_lines(bucket, SPLITS["test"][1])):
        if isinstance(line, ListLine):
            yield line
