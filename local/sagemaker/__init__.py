"""A stand-in for SageMaker: the part of its API that this project calls, with a model that a laptop can train."""
