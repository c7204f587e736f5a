"""`python -m ops diff` over the real templates: what is noise, what comes first, and what is said in words."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops import diff as diff_module
from ops import templates
from ops.__main__ import app
from ops.diff import StackDiff, compare, report
from ops.templates import Assembly, Template
from stacks.code_version import code_version

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def synthesized() -> Assembly:
    return templates.synthesize()


def resource(template: Template, resource_type: str) -> dict[str, Any]:
    """The first resource of a type."""
    return next(value for value in template["Resources"].values() if value["Type"] == resource_type)


def change(synthesized: Assembly, stack: str, edit: Edit) -> list[StackDiff]:
    """The differences when one stack of the application is edited."""
    after = {**synthesized.templates, stack: copy.deepcopy(synthesized.templates[stack])}
    edit(after[stack])
    return compare(synthesized.templates, after, version=synthesized.version)


def test_another_asset_hash_is_no_difference_unless_what_is_deployed_is_compared(synthesized: Assembly) -> None:
    def other_code(template: Template) -> None:
        for value in template["Resources"].values():
            if value["Type"] == "AWS::Lambda::Function":
                value["Properties"]["Code"]["S3Key"] = f"{'0' * 64}.zip"
                value["Metadata"]["aws:asset:path"] = "elsewhere"

    assert change(synthesized, "dev/Workflow", other_code) == []
    after = copy.deepcopy(synthesized.templates)
    other_code(after["dev/Workflow"])
    (found,) = compare(synthesized.templates, after, version=synthesized.version, asset_hashes=True)
    assert "0" * 64 in "\n".join(found.other)


def test_a_comment_in_a_function_is_no_difference(synthesized: Assembly) -> None:
    """The training job that retraining starts is tagged with the version of the functions' code."""
    text = json.dumps(synthesized.templates)
    assert text.count(code_version()) >= 2
    after = json.loads(text.replace(code_version(), "0" * 40))
    assert compare(synthesized.templates, after, version=synthesized.version) == []
    assert compare(synthesized.templates, after, version=synthesized.version, asset_hashes=True)


def test_a_replaced_bucket_is_called_out_in_words(synthesized: Assembly) -> None:
    def rename(template: Template) -> None:
        (bucket,) = [r for name, r in template["Resources"].items() if re.fullmatch("Bucket[0-9A-F]{8}", name)]
        bucket["Properties"]["BucketName"] = "another"

    (in_dev,) = change(synthesized, "dev/Data", rename)
    assert in_dev.warnings == (
        "REPLACES the bucket Data/Bucket by a new one. Lost: the data set, models, predictions and captures in it.",
    )
    (in_prod,) = change(synthesized, "prod/Data", rename)
    assert in_prod.warnings == (
        "REPLACES the bucket Data/Bucket by a new one. "
        "The old one stays, unused, with the data set, models, predictions and captures in it.",
    )


def test_a_deleted_and_a_renamed_endpoint_are_called_out_in_words(synthesized: Assembly) -> None:
    def delete(template: Template) -> None:
        del template["Resources"]["Endpoint"]

    def rename(template: Template) -> None:
        resource(template, "AWS::SageMaker::Endpoint")["Properties"]["EndpointName"] = "another"

    after = copy.deepcopy(synthesized.templates)
    delete(after["dev/Model"])
    rename(after["prod/Model"])
    deleted, replaced = compare(synthesized.templates, after, version=synthesized.version)
    loss = "Lost: answers, until the new one is in service."
    assert deleted.warnings == (f"DELETES the endpoint Model/Endpoint. {loss}",)
    assert replaced.warnings == (f"REPLACES the endpoint Model/Endpoint by a new one. {loss}",)


def test_a_new_model_replaces_no_endpoint(synthesized: Assembly) -> None:
    def larger(template: Template) -> None:
        variant = resource(template, "AWS::SageMaker::EndpointConfig")["Properties"]["ProductionVariants"][0]
        variant["InstanceType"] = "ml.m5.xlarge"

    (found,) = change(synthesized, "dev/Model", larger)
    assert not found.warnings
    assert "ml.m5.xlarge" in "\n".join(found.other)


def test_a_removed_stack_loses_what_it_held_unless_it_is_retained(synthesized: Assembly) -> None:
    for environment, expected in (("dev", "DELETES the bucket"), ("prod", "LETS GO of the bucket")):
        after = {stack: value for stack, value in synthesized.templates.items() if stack != f"{environment}/Data"}
        (found,) = compare(synthesized.templates, after, version=synthesized.version)
        assert any(warning.startswith(expected) for warning in found.warnings), found.warnings


def test_a_new_stack_endangers_nothing(synthesized: Assembly) -> None:
    before = {stack: value for stack, value in synthesized.templates.items() if stack != "dev/Data"}
    (found,) = compare(before, synthesized.templates, version=synthesized.version)
    assert (found.stack, found.warnings) == ("dev/Data", ())
    assert "IAM Statement Changes" in found.security[0]


def test_what_concerns_security_comes_first(synthesized: Assembly) -> None:
    def weaken(template: Template) -> None:
        bucket = resource(template, "AWS::S3::Bucket")["Properties"]
        bucket["PublicAccessBlockConfiguration"]["BlockPublicAcls"] = False
        del bucket["BucketEncryption"]
        policy = resource(template, "AWS::IAM::Policy")["Properties"]["PolicyDocument"]
        policy["Statement"][0]["Action"] = "s3:*"
        topic_policy = resource(template, "AWS::SNS::TopicPolicy")["Properties"]["PolicyDocument"]
        topic_policy["Statement"].append({"Effect": "Allow", "Principal": "*", "Action": "sns:*", "Resource": "*"})
        template["Resources"]["AAA"] = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Threshold": 1}}

    (found,) = change(synthesized, "dev/Data", weaken)
    text = report([found], against="main")
    for shown in ("s3:*", "sns:*", "BucketEncryption", "BlockPublicAcls:\n     ├─ [-] true\n     └─ [+] false"):
        assert shown in "\n".join(found.security).replace("│", " ").replace("         ", "     ")
    assert text.index("### Security") < text.index("### Everything else") < text.index("AAA")


def test_a_changed_state_is_shown_as_a_state(synthesized: Assembly) -> None:
    def retry_more(template: Template) -> None:
        machine = resource(template, "AWS::StepFunctions::StateMachine")["Properties"]["DefinitionString"]
        join = machine["Fn::Join"][1]
        at = next(index for index, part in enumerate(join) if isinstance(part, str) and '"MaxAttempts":3' in part)
        join[at] = join[at].replace('"MaxAttempts":3', '"MaxAttempts":9')

    (found,) = change(synthesized, "dev/Workflow", retry_more)
    lines = "\n".join(found.other).splitlines()
    assert [line.strip() for line in lines if "9" in line and "MaxAttempts" in line]
    assert all(len(line) < 400 for line in lines)


def test_stacks_in_which_something_is_lost_come_first() -> None:
    diffs = [StackDiff("dev/Data", (), (), ("[~] Description",)), StackDiff("prod/Data", ("DELETES",), (), ("[-]",))]
    text = report(diffs, against="main")
    assert text.startswith("# 2 stacks differ from main; 1 of the changes replaces or deletes what holds state\n")
    assert text.index("## prod/Data") < text.index("## dev/Data")


def test_the_exit_status_tells_how_much_is_at_stake(
    synthesized: Assembly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "synthesize", lambda: synthesized)
    arguments = ["diff", "--base", "HEAD", "--markdown", str(tmp_path / "report.md")]

    def run(before: dict[str, Template]) -> tuple[int, str]:
        monkeypatch.setattr(templates, "synthesize_commit", lambda _: replace(synthesized, templates=before))
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, result.output

    assert run(synthesized.templates)[0] == 0
    before = copy.deepcopy(synthesized.templates)
    before["dev/Data"]["Description"] = "Another"
    assert run(before)[0] == diff_module.CHANGED
    resource(before["dev/Model"], "AWS::SageMaker::Endpoint")["Properties"]["EndpointName"] = "another"
    status, output = run(before)
    assert status == diff_module.ENDANGERED
    assert (tmp_path / "report.md").read_text() == output


def test_a_long_report_is_cut_to_what_a_comment_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# Report\n```text\n" + "line\n" * 20_000 + "```\n"
    short = diff_module._shortened(text)
    assert len(short) < 65_536
    assert short.count("```") == 2
    assert "more characters: `make diff` shows the whole report" in short
