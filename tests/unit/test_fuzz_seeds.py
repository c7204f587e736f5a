import pytest

from tests.fuzz.targets import TARGETS

SEEDS = [(name, number) for name, target in TARGETS.items() for number in range(len(target.seeds))]


@pytest.mark.parametrize(("name", "number"), SEEDS)
def test_what_holds_for_any_bytes_holds_for_those_that_were_found(name: str, number: int) -> None:
    TARGETS[name].check(TARGETS[name].seeds[number])
