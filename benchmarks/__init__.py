import sys

from stacks.config import PROJECT_ROOT

sys.path.append(str(PROJECT_ROOT / "model_src"))  # flat, as it is in the container
