"""The local endpoint: latency, compared with the original's 200.4 ms, and requests per second.

python -m benchmarks.endpoint
"""

import statistics
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from data_prep.sample import draw_image
from lambda_src.shared.algorithms import SCIKIT_LEARN
from local.sagemaker import builtin
from local.sagemaker.container import Container
from local.sagemaker.control_plane import ControlPlane
from local.sagemaker.endpoint import Endpoint
from local.sagemaker.server import Server
from local.sagemaker.training import packed
from model import Model

ORIGINAL_MS = 200.4  # the original workflow's figure for its endpoint
REQUESTS = 500
CLASSES = ("bicycle", "motorcycle")


class _Variant:
    """A variant without data capture and metrics."""

    name = "AllTraffic"

    def __init__(self, container: Container) -> None:
        self._container = container

    def invoke(self, body: bytes, *, content_type: str, **_: object) -> bytes:
        return self._container.invocations(body, content_type=content_type)

    def close(self) -> None:
        """Nothing to write."""


def main() -> None:
    images = np.stack([draw_image(CLASSES[n % 2], np.random.default_rng(n)) for n in range(400)])
    with TemporaryDirectory() as folder:
        artifact = Path(folder) / "artifact"
        builtin.copy_code(artifact / "code")
        Model.train(images, np.arange(400) % 2, num_classes=2).save(artifact / "model.npz")
        container = Container(
            packed(artifact),
            {
                "Image": f"registry/{SCIKIT_LEARN.repository}:1",
                "ModelDataUrl": "benchmark",
                "Environment": SCIKIT_LEARN.serving_environment,
            },
        )
        path = Path(folder) / "image.png"
        Image.fromarray(images[0]).save(path)
        body = path.read_bytes()
        control_plane = ControlPlane(cache=Path(folder))
        endpoint = Endpoint("benchmark")
        endpoint.serve(_Variant(container))  # type: ignore[arg-type]
        control_plane.endpoints["benchmark"] = endpoint
        with Server(0, control_plane, is_known=lambda _: True) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}/endpoints/benchmark/invocations"
            times = sorted(1000 * seconds_of(url, body) for _ in range(REQUESTS))
            server.shutdown()
    table = Table("local endpoint", "p50 ms", "p99 ms", "requests/s", "p50 of the original's", box=None, pad_edge=False)
    p50, p99 = statistics.median(times), times[int(0.99 * len(times))]
    table.add_row(
        "400 training images",
        f"{p50:.1f}",
        f"{p99:.1f}",
        f"{1000 * len(times) / sum(times):.0f}",
        f"{p50 / ORIGINAL_MS:.3f}",
    )
    Console().print(table)


def seconds_of(url: str, body: bytes) -> float:
    started = time.perf_counter()
    request = Request(url, data=body, headers={"Content-Type": "application/x-image"})  # noqa: S310 - our own address
    with urlopen(request, timeout=10) as response:  # noqa: S310
        response.read()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
