"""The most work that an accepted image can make a decoder: `python -m benchmarks.images`.

Each image passes lambda_src/shared/image_format.py, fits the workflow's size limit and is the largest of its kind;
Pillow decodes it to RGB in a process of its own. The baseline is a flat JPEG of 12 megapixels, as a phone would send.
"""

import io
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable

from PIL import Image
from rich.console import Console
from rich.table import Table

from lambda_src.classification.serialize_image_data import MAX_IMAGE_BYTES
from lambda_src.shared.image_format import MAX_PIXELS, MAX_SCANNED_PIXELS, MAX_SIDE, check_image

_SIDE = 5000
_COLOUR = (200, 30, 90)


def _encoded(kind: str, mode: str, size: tuple[int, int], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, _COLOUR).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def _scans(size: tuple[int, int]) -> bytes:
    """A progressive JPEG with as many scans as are accepted, which repeats the last one."""
    data = _encoded("JPEG", "RGB", size, progressive=True)
    starts = [match.start() for match in re.finditer(b"\xff\xda", data)]
    more = MAX_SCANNED_PIXELS // (size[0] * size[1]) - len(starts)
    return data[:-2] + data[starts[-1] : -2] * more + data[-2:]


BASELINE = "JPEG of 4000x3000, the baseline"
IMAGES: dict[str, Callable[[], bytes]] = {
    BASELINE: lambda: _encoded("JPEG", "RGB", (4000, 3000), optimize=True),
    "JPEG of 5000x5000": lambda: _encoded("JPEG", "RGB", (_SIDE, _SIDE), optimize=True),
    "JPEG of 5000x5000 with 12 scans": lambda: _scans((_SIDE, _SIDE)),
    "JPEG of 1000x1000 with 300 scans": lambda: _scans((1000, 1000)),
    "JPEG of 3000x3000, CMYK": lambda: _encoded("JPEG", "CMYK", (3000, 3000), progressive=True),
    "PNG of 5000x5000": lambda: _encoded("PNG", "RGB", (_SIDE, _SIDE), compress_level=9),
    "PNG of 4330x4330 with alpha": lambda: _encoded("PNG", "RGBA", (4330, 4330), compress_level=9),
    "PNG of 16384 rows": lambda: _encoded("PNG", "RGB", (MAX_PIXELS // MAX_SIDE, MAX_SIDE), compress_level=9),
}


def _child(*arguments: str, data: bytes = b"") -> bytes:
    """Not in this process: on Linux, measured processes inherit its peak memory."""
    command = [sys.executable, "-m", "benchmarks.images", *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def decode(data: bytes) -> None:
    """In a separate process: writes seconds of CPU and the peak memory in bytes."""
    started = time.process_time()
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
        image.convert("RGB")
    unit = 1 if sys.platform == "darwin" else 1024
    print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def main() -> None:
    table = Table("image", "bytes", "seconds", "of the baseline", "peak MB", box=None, pad_edge=False)
    baseline = 0.0
    for name in IMAGES:
        data = _child("--make", name)
        check_image(data, name=name)
        if len(data) > MAX_IMAGE_BYTES:
            sys.exit(f"{name}: {len(data):,} bytes are over the workflow's limit")
        runs = [tuple(map(float, _child("--decode", data=data).split())) for _ in range(3)]
        seconds, memory = min(runs)
        baseline = baseline or seconds
        table.add_row(name, f"{len(data):,}", f"{seconds:.2f}", f"{seconds / baseline:.1f}", f"{memory / 1e6:.0f}")
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        sys.stdout.buffer.write(IMAGES[sys.argv[2]]())
    elif sys.argv[1:] == ["--decode"]:
        decode(sys.stdin.buffer.read())
    else:
        main()
