"""A local cloud of its own: the faults of these tests set off alarms, and its tests run beside the others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cloud import LocalCloud
from tests.local.conftest import deployed


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, assembly: Path, dataset: Path) -> Iterator[LocalCloud]:
    with deployed(tmp_path_factory, "classification-cloud", assembly, dataset) as cloud:
        yield cloud
