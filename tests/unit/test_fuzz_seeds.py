import pytest

from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize(("name", "data"), [(name, seed) for name, target in TARGETS.items() for seed in target.seeds])
def test_what_holds_for_any_bytes_holds_for_those_that_were_found(name: str, data: bytes) -> None:
    TARGETS[name].check(data)
