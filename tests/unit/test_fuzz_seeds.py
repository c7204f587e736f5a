import pytest

from tests.fuzz.targets import TARGETS

SEEDS = [(name, number) for name, target in TARGETS.items() for number in range(len(target.seeds))]


@pytest.mark.parametrize(("name", "number"), SEEDS)
def test_the_properties_hold_for_the_seeds(name: str, number: int) -> None:
    TARGETS[name].check(TARGETS[name].seeds[number])
