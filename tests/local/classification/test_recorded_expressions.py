"""The same for the classification workflows, in the cloud of these tests."""

from tests.local.test_recorded_expressions import test_the_reference_agrees_on_every_expression_of_the_run

__all__ = ["test_the_reference_agrees_on_every_expression_of_the_run"]
