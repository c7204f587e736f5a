"""`python -m ops diff` over the application itself: a commit with other settings against the working tree."""

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops import templates
from ops.__main__ import application
from ops.diff_report import diff_report
from ops.templates import Assembly, read_assembly
from stacks.config import PROJECT_ROOT
from tests.infrastructure.conftest import Resource


@pytest.fixture(scope="session")
def synthesized(assembly: Path) -> Assembly:
    """The environments of cdk.json."""
    return read_assembly(assembly)


# What an application does, without the seconds that it takes; its own commit's context says what is synthesized
STAND_IN = """
import json, os, shutil
shutil.copytree(json.loads(os.environ["CDK_CONTEXT_JSON"])["assembly"], os.environ["CDK_OUTDIR"], dirs_exist_ok=True)
"""


def test_a_commit_is_synthesized_and_compared_with_the_working_tree(
    assembly: Path, synthesized: Assembly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One commit, with another threshold, another instance type and other code of its functions in dev."""
    base = tmp_path / "base"
    shutil.copytree(assembly, base / "before", ignore=shutil.ignore_patterns("asset.*", "tree.json"))
    for path in (base / "before" / "assembly-dev").glob("*.template.json"):
        text = re.sub(r'("CONFIDENCE_THRESHOLD": )"0.9"', r'\1"0.8"', path.read_text())
        text = re.sub(r'("InstanceType": )"ml.m5.large"', r'\1"ml.m5.xlarge"', text)
        path.write_text(re.sub(r'("S3Key": )"\w+', r'\1"0123', text))
    (base / "app.py").write_text(STAND_IN)
    (base / "cdk.json").write_text(json.dumps({"context": {"assembly": "before"}}))
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "-m", "base"]):
        subprocess.run(["git", *command], cwd=base, check=True, capture_output=True)
    (base / "app.py").unlink()
    monkeypatch.setattr(templates, "PROJECT_ROOT", base)
    monkeypatch.setattr(templates, "synthesize", partial(_synthesized_once, synthesized, templates.synthesize))
    result = CliRunner().invoke(application(), ["diff", "--base", "HEAD"], catch_exceptions=False)
    text = " ".join(result.output.split())
    assert text.startswith("Compared with HEAD Price dev -83.95 USD a month while idle")
    for sentence in (
        r"Behaviour dev code of \d+ functions?: ",
        r"dev CONFIDENCE_THRESHOLD 0\.8 → 0\.9 \(.*Workflow/FilterConfidence\)",
        r"dev ProductionVariants\.0\.InstanceType ml\.m5\.xlarge → ml\.m5\.large",
        r"Resources dev replaces Model/EndpointConfig \(ProductionVariants\)",
    ):
        assert re.search(sentence, text), sentence
    assert "Lost" not in text
    assert "Security" not in text
    assert len(result.output.splitlines()) < 20


def _synthesized_once(here: Assembly, synthesize: Callable[[Path], Assembly], source: Path = PROJECT_ROOT) -> Assembly:
    return here if source == PROJECT_ROOT else synthesize(source)


Edit = Callable[[Resource], None]


def sentences(synthesized: Assembly, stack: str, resource_type: str, edit: Edit) -> list[tuple[str, str]]:
    """What the report says if the first resource of a type is edited."""
    after = {**synthesized.templates, stack: copy.deepcopy(synthesized.templates[stack])}
    edit(next(each["Properties"] for each in after[stack]["Resources"].values() if each["Type"] == resource_type))
    rows = diff_report(synthesized, replace(synthesized, templates=after)).rows
    return [(row.section, row.text) for row in rows]


def test_the_same_application_has_no_difference(synthesized: Assembly) -> None:
    assert diff_report(synthesized, copy.deepcopy(synthesized)).changes == ()


def test_the_report_on_a_renamed_bucket_lists_what_is_replaced(synthesized: Assembly, environment: str) -> None:
    found = sentences(
        synthesized, f"{environment}/Data", "AWS::S3::Bucket", lambda bucket: bucket.update(BucketName="another")
    )
    replaced = [text for section, text in found if section == "Lost"]
    assert replaced
    assert replaced[0].startswith("REPLACES the bucket Data/")
    assert any("(Bucket refers to Data/" in text for section, text in found if section == "Resources")


def test_a_grant_is_one_sentence(synthesized: Assembly) -> None:
    def grant(policy: Resource) -> None:
        policy["PolicyDocument"]["Statement"].insert(0, {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "x"})

    ((section, text),) = sentences(synthesized, "dev/Workflow", "AWS::IAM::Policy", grant)
    assert section == "Security"
    assert re.fullmatch(r"Workflow/\w+ may now s3:PutObject on x", text)


def test_a_definition_is_compared_by_its_states(synthesized: Assembly) -> None:
    def edit(machine: Resource) -> None:
        text = json.dumps(machine["DefinitionString"])
        machine["DefinitionString"] = json.loads(re.sub(r'(MaxAttempts\\": )\d', r"\g<1>9", text, count=1))

    ((section, text),) = sentences(synthesized, "dev/Workflow", "AWS::StepFunctions::StateMachine", edit)
    assert section == "Behaviour"
    assert re.fullmatch(r"states of Workflow/\w+: 1 changed \(\w+\)", text)
