from data_prep.target import Target
from ops.acceptance import FIDELITY, PHASES, Cost, Result, confirmations, report_of
from stacks.config import load_environment

ROWS = """
| Behaviour | Source | Checked by |
|---|---|---|
| A job keeps its name | Model. **Unverified**: the text; acceptance: deploy again | a test |
| Alarms end an update | docs; **unverified**, acceptance: retrain | |
| IAM decides so | **Unverified** | |
| Names have 64 characters | Model | a test |
"""


def test_a_row_is_confirmed_by_the_phase_that_it_names() -> None:
    results = [Result("retrain", True, 1, ""), Result("deploy again", False, 1, "")]
    assert confirmations(results, ROWS) == [
        ("A job keeps its name", "deploy again", False),
        ("Alarms end an update", "retrain", True),
        ("IAM decides so", "", None),
    ]


def test_every_phase_that_the_document_names_is_one() -> None:
    named = {phase for _, phase, _ in confirmations([], FIDELITY.read_text(encoding="utf-8")) if phase}
    assert named
    assert named <= {phase.name for phase in PHASES}


def report(endpoint: str, results: list[Result]) -> str:
    costs = [Cost("scones-dev-job-1", "ml.m5.large", 7200), Cost("scones-dev-job-2", "ml.unheard.of", 60)]
    return report_of(load_environment("dev"), Target("111122223333", "eu-west-1", endpoint), results, costs=costs)


def test_a_report_from_an_account_confirms_what_passed_and_has_the_cost() -> None:
    text = report("https://cloudformation.eu-west-1.amazonaws.com", [Result("retrain", True, 61.4, "a | b\nc")])
    assert "Against AWS (account 111122223333, region eu-west-1" in text
    assert "| retrain | passed | 61 | a \\| b c |" in text
    assert "| retrain | confirmed |" in text
    assert "not reached" in text
    assert "| scones-dev-job-1 | ml.m5.large | 7200 | 0.23 |" in text
    assert "| scones-dev-job-2 | ml.unheard.of | 60 | unknown |" in text


def test_a_report_of_the_local_cloud_confirms_nothing_of_aws() -> None:
    text = report("http://127.0.0.1:4566", [Result("retrain", True, 1, "")])
    assert "confirms nothing of AWS" in text
    assert "| confirmed |" not in text
