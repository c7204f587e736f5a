"""Before deploy: from CIFAR-100 to a data set on S3 and a trained model."""

import sys
from importlib.util import find_spec

# Each command line comes through here before it imports what `make setup` installs
_missing = [name for name in ("boto3", "pydantic", "typer") if find_spec(name) is None]
if _missing:
    sys.exit(
        f"Error: {sys.executable} does not have {', '.join(_missing)}: "
        "run `make setup` once, then `. .venv/bin/activate` in each shell"
    )
