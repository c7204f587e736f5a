"""`python -m data_prep`: what to run before deploying."""

from data_prep import command_line
from data_prep.adopt import adopt
from data_prep.baseline import baseline
from data_prep.build import build
from data_prep.fetch import fetch
from data_prep.original import import_folder
from data_prep.run import run
from data_prep.sample import sample
from data_prep.train import train
from data_prep.upload import upload
from data_prep.validate import validate

app = command_line.application(
    "data_prep", "From CIFAR-100 to a data set on S3 and a trained model: what to run before deploying."
)
app.command(epilog="Example: python -m data_prep fetch --env dev")(fetch)
app.command(epilog="Example: python -m data_prep build --env dev")(build)
app.command("import", epilog="Example: python -m data_prep import --env dev scones-unlimited")(import_folder)
app.command(epilog="Example: python -m data_prep validate --env dev")(validate)
app.command(epilog="Example: python -m data_prep sample --env dev data/sample.tar.gz")(sample)
app.command(epilog="Example: python -m data_prep upload --env dev")(upload)
app.command(epilog="Example: python -m data_prep train --env dev --spot")(train)
app.command(epilog="Example: python -m data_prep adopt s3://BUCKET/PATH/output/model.tar.gz --env dev")(adopt)
app.command(epilog="Example: python -m data_prep baseline --env dev")(baseline)
app.command(epilog="Example: python -m data_prep run --env dev")(run)


def main(arguments: list[str] | None = None) -> None:
    command_line.run(app, arguments, program="python -m data_prep")


if __name__ == "__main__":
    main()
