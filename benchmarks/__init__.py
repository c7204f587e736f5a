import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "model_src"))  # flat, as it is in the container
