"""`python -m ops`: to review, deploy and watch an environment."""

from data_prep import command_line
from lambda_src.shared.json_reader import DocumentError
from ops.acceptance import acceptance
from ops.bulk import bulk
from ops.captures import captures
from ops.console.command import console
from ops.cost.command import cost
from ops.deploy import deploy
from ops.destroy import destroy
from ops.diff import diff
from ops.doctor import doctor
from ops.errors import OpsError
from ops.generate import generate
from ops.lineage import lineage
from ops.outputs import outputs
from ops.pause import pause, resume
from ops.replay import replay
from ops.retraining import retrain, rollback
from ops.review.command import review
from ops.smoke import smoke
from ops.threshold import threshold

app = command_line.application("ops", "Review, deploy and watch an environment, on AWS or in the local cloud.")
app.command(epilog="Example: python -m ops doctor --env dev")(doctor)
app.command(epilog="Example: python -m ops deploy --env dev")(deploy)
app.command(epilog="Example: python -m ops smoke --env dev")(smoke)
app.command(epilog="Example: python -m ops outputs --env dev --json")(outputs)
app.command(epilog="Example: python -m ops destroy --env dev --yes")(destroy)
app.command(epilog="Example: python -m ops acceptance --env trial --synthetic")(acceptance)
app.command(epilog="Example: python -m ops diff --base HEAD~1")(diff)
app.add_typer(generate, name="generate")
app.command(epilog="Example: python -m ops console --env dev")(console)
app.add_typer(review, name="review")
app.command(epilog="Example: python -m ops captures --env dev --since 24h")(captures)
app.command(epilog="Example: python -m ops lineage predictions/incoming/bike.png/VERSION.json --env dev")(lineage)
app.command(epilog="Example: python -m ops retrain --env dev --force")(retrain)
app.command(epilog="Example: python -m ops rollback --env dev")(rollback)
app.command(epilog="Example: python -m ops pause --env dev")(pause)
app.command(epilog="Example: python -m ops resume --env dev")(resume)
app.command(epilog="Example: python -m ops threshold --env dev --accuracy 0.98")(threshold)
app.command(epilog="Example: python -m ops cost --env dev --images 1000000")(cost)
app.command(epilog="Example: python -m ops bulk scheduled/archive/ --env dev --dry-run")(bulk)
app.command(epilog="Example: python -m ops replay --env dev")(replay)


def main(arguments: list[str] | None = None) -> None:
    command_line.run(app, arguments, program="python -m ops", errors=(OpsError, DocumentError))


if __name__ == "__main__":
    main()
