"""The fixture of tests/conftest.py that the model's tests need, without imports that the container lacks."""

from pathlib import Path

import pytest

from tests import container_tree


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("job") / "ml"
    container_tree.train(root)
    return root
