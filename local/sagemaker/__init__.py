"""A stand-in for SageMaker: the parts of its API that this project calls, over a model that a laptop can train."""
