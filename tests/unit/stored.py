"""What moto's account holds before a test begins, put there without the requests, which take fifty times as long."""

from pathlib import Path

from moto.s3.models import s3_backends

ACCOUNT = "123456789012"  # moto's


def create_bucket(name: str, *, is_versioned: bool = False) -> None:
    bucket = s3_backends[ACCOUNT]["aws"].create_bucket(name, "us-east-1")
    bucket.versioning_status = "Enabled" if is_versioned else None


def place(bucket: str, key: str, content: bytes | str) -> str:
    """Put an object; returns the id of its version."""
    body = content if isinstance(content, bytes) else content.encode()
    return str(s3_backends[ACCOUNT]["aws"].put_object(bucket, key, body).version_id)


def place_folder(bucket: str, folder: Path) -> None:
    """Put every file, with its path below the folder as its key."""
    for file in folder.rglob("*.*"):
        place(bucket, str(file.relative_to(folder)), file.read_bytes())
