"""The same for the retraining workflow, in the cloud of these tests."""

import pytest

from tests.local.test_recorded_expressions import test_the_reference_agrees_on_every_expression_of_the_run

__all__ = ["test_the_reference_agrees_on_every_expression_of_the_run"]

pytestmark = pytest.mark.slow
