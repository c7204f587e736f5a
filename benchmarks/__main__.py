"""Every benchmark, one after the other, or only those that are named: `python -m benchmarks synth functions`."""

import argparse
import pkgutil
import subprocess
import sys

import benchmarks
from stacks.config import PROJECT_ROOT


def main() -> None:
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_")]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(names)}")
    chosen = parser.parse_args().names or names
    if unknown := set(chosen) - set(names):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    for name in chosen:
        sys.stdout.write(f"\n== {name}\n")
        sys.stdout.flush()
        # In a separate process, so that none measures another's imports
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=PROJECT_ROOT, check=True)


if __name__ == "__main__":
    main()
