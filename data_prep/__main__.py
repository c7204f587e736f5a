"""`python -m data_prep`: what to run before deploying."""

import typer

from data_prep import command_line
from data_prep.command_line import Command

COMMANDS = {
    "fetch": Command("data_prep.fetch:fetch", "--env dev"),
    "build": Command("data_prep.build:build", "--env dev"),
    "import": Command("data_prep.original:import_folder", "--env dev scones-unlimited"),
    "validate": Command("data_prep.validate:validate", "--env dev"),
    "sample": Command("data_prep.sample:sample", "--env dev data/sample.tar.gz"),
    "upload": Command("data_prep.upload:upload", "--env dev"),
    "train": Command("data_prep.train:train", "--env dev --spot"),
    "adopt": Command("data_prep.adopt:adopt", "s3://BUCKET/PATH/output/model.tar.gz --env dev"),
    "baseline": Command("data_prep.baseline:baseline", "--env dev"),
    "run": Command("data_prep.run:run", "--env dev"),
}


def application(only: str = "") -> typer.Typer:
    purpose = "From CIFAR-100 to a data set on S3 and a trained model: what to run before deploying."
    return command_line.application("data_prep", purpose, COMMANDS, only=only)


def main(arguments: list[str] | None = None) -> None:
    command_line.run(application, arguments, program="python -m data_prep")


if __name__ == "__main__":
    main()
