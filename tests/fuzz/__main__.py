"""Search for bytes that break a reader: `python -m tests.fuzz [NAME...] [--seconds N]`, which is `make fuzz`.

Atheris (https://github.com/google/atheris) is libFuzzer for Python: what reaches new code is mutated further. An input
that breaks something is written to build/fuzz; make the smallest like it a seed in targets.py.
"""

import argparse
import hashlib
import random
import subprocess
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lambda_src", "data_prep"]):
    from tests.fuzz.targets import TARGETS, Target

FOUND = Path("build/fuzz")
BOUNDS = ["-timeout=30", "-rss_limit_mb=1024"]  # seconds and MB for a single input


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    arguments = parser.parse_args()
    if len(arguments.names) == 1:
        _search(arguments.names[0], TARGETS[arguments.names[0]], arguments.seconds)
    # libFuzzer ends its process
    commands = [[sys.executable, "-m", "tests.fuzz", name, "--seconds", str(arguments.seconds)] for name in TARGETS]
    return max(subprocess.run(command, check=False).returncode for command in commands)


def _search(name: str, target: Target, seconds: int) -> None:
    corpus = FOUND / name
    corpus.mkdir(parents=True, exist_ok=True)
    longest = max(4096, 2 * len(target.seeds[0]))
    for seed in (seed for seed in target.seeds if len(seed) <= longest):
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)

    def mutate(data: bytes, max_size: int, number: int) -> bytes:
        chance = random.Random(number)
        if target.vary and chance.random() < 0.8:
            return target.vary(data, chance)[:max_size]
        data = atheris.Mutate(data, max_size)
        return target.repair(data)[:max_size] if target.repair and chance.random() < 0.8 else data

    options = [f"-max_total_time={seconds}", f"-max_len={longest}", "-print_final_stats=1", *BOUNDS]
    atheris.Setup(
        [name, *options, f"-artifact_prefix={FOUND}/{name}-", str(corpus)], target.check, custom_mutator=mutate
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
