"""`python -m ops`: to review, deploy and watch an environment."""

import typer

from data_prep import command_line
from data_prep.command_line import Command
from lambda_src.shared.json_reader import DocumentError
from ops.errors import OpsError

COMMANDS = {
    "doctor": Command("ops.doctor:doctor", "--env dev"),
    "deploy": Command("ops.deploy:deploy", "--env dev"),
    "smoke": Command("ops.smoke:smoke", "--env dev"),
    "outputs": Command("ops.outputs:outputs", "--env dev --json"),
    "destroy": Command("ops.destroy:destroy", "--env dev --yes"),
    "acceptance": Command("ops.acceptance:acceptance", "--env trial --synthetic"),
    "diff": Command("ops.diff:diff", "--base HEAD~1"),
    "generate": Command("ops.generate:generate"),
    "console": Command("ops.console.command:console", "--env dev"),
    "review": Command("ops.review.command:review"),
    "captures": Command("ops.captures:captures", "--env dev --since 24h"),
    "lineage": Command("ops.lineage:lineage", "predictions/incoming/bike.png/VERSION.json --env dev"),
    "retrain": Command("ops.retraining:retrain", "--env dev --force"),
    "rollback": Command("ops.retraining:rollback", "--env dev"),
    "pause": Command("ops.pause:pause", "--env dev"),
    "resume": Command("ops.pause:resume", "--env dev"),
    "threshold": Command("ops.threshold:threshold", "--env dev --accuracy 0.98"),
    "cost": Command("ops.cost.command:cost", "--env dev --images 1000000"),
    "bulk": Command("ops.bulk:bulk", "scheduled/archive/ --env dev --dry-run"),
    "replay": Command("ops.replay:replay", "--env dev"),
}


def application(only: str = "") -> typer.Typer:
    purpose = "Review, deploy and watch an environment, on AWS or in the local cloud."
    return command_line.application("ops", purpose, COMMANDS, only=only)


def main(arguments: list[str] | None = None) -> None:
    command_line.run(application, arguments, program="python -m ops", errors=(OpsError, DocumentError))


if __name__ == "__main__":
    main()
