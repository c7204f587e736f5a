"""The differences between two templates, what CloudFormation does about them, and the resulting permissions."""

from pathlib import Path
from typing import Any

import pytest

from ops import specification
from ops.canonical import canonical
from ops.changes import ABSENT, Change, Difference, compare, differences
from ops.errors import OpsError
from ops.specification import resource_types
from ops.templates import Assembly
from tests.unit.ops.small_templates import (
    Resources,
    allow,
    assembly,
    both,
    bucket,
    function,
    machine,
    policy,
    resource,
    role,
    substituted,
)


def changes(before: Resources, after: Resources) -> dict[str, Change]:
    return {change.resource.name: change for change in compare(assembly(before), assembly(after)).changes}


def impacts(before: Resources, after: Resources) -> dict[str, str]:
    return {name: change.impact for name, change in changes(before, after).items()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            policy(allow("s3:GetObject", ["b", "a"]), allow(["x:B", "x:A"], "*")),
            policy(allow(["x:A", "x:B"], ["*"]), allow("s3:GetObject", ["a", "b"])),
        ),
        (
            resource("SNS::Topic", "T", {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}),
            resource("SNS::Topic", "T", {"Tags": [{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "1"}]}),
        ),
        (
            resource("CloudWatch::Dashboard", "D", {"DashboardBody": '{"a": 1, "b": [2]}'}),
            resource("CloudWatch::Dashboard", "D", {"DashboardBody": {"Fn::Join": ["", ['{"b": [2', '], "a": 1}']]}}),
        ),
        (
            resource("Lambda::Function", "F", DependsOn=["P", "R"]),
            resource("Lambda::Function", "F", DependsOn=["R", "P"]),
        ),
        (
            {**bucket(), "Metadata": {"aws:cdk:path": "dev/Data/Bucket/Resource", "checkov": {"skip": []}}},
            bucket(),
        ),
    ],
    ids=["policy", "tags", "text", "dependencies", "metadata"],
)
def test_equivalent_values_are_no_difference(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert changes({"X": before}, {"X": after}) == {}


def test_cdks_additions_for_bootstrap_and_other_stacks_are_no_difference() -> None:
    outputs = {"ExportsOutputRefBucket83908E770FF9A107": {"Value": {"Ref": "B"}}}
    parameters = {"BootstrapVersion": {"Type": "String"}}
    after = assembly({"B": bucket()}, Outputs=outputs, Parameters=parameters, Metadata={"x": 1})
    assert not compare(assembly({"B": bucket()}), after).changes


def test_an_output_that_people_read_is_a_difference() -> None:
    after = assembly({"B": bucket()}, Outputs={"BucketName": {"Value": {"Ref": "B"}}})
    (change,) = compare(assembly({"B": bucket()}), after).changes
    assert (change.resource.name, change.impact) == ("Data", "update")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": True}, [Difference(("a",), 1, True)]),
        ({}, {"a": None}, [Difference(("a",), ABSENT, None)]),
        (["a", "b"], ["new", "a", "b"], [Difference(("0",), ABSENT, "new")]),
        ([{"n": 1}, {"n": 2}], [{"n": 1}, {"n": 3}], [Difference(("1", "n"), 2, 3)]),
        ({"a": {"b": 1}}, {"a": "text"}, [Difference(("a",), {"b": 1}, "text")]),
    ],
)
def test_the_smallest_values_that_differ_are_found(before: Any, after: Any, expected: list[Difference]) -> None:
    assert list(differences(before, after)) == expected


def test_references_are_construct_paths_across_stacks_and_inside_texts() -> None:
    data = assembly({"B": bucket()}, Outputs={"ExportsOutputRefB": {"Value": {"Ref": "B"}}})
    reference = {"Fn::ImportValue": "scones-dev-Data:ExportsOutputRefB"}
    uri = {"Fn::Join": ["", ["s3://", reference, "/x in ", {"Ref": "AWS::Region"}]]}
    other = assembly({"F": function("F", URI=uri, ARN={"Fn::GetAtt": ["F", "Arn"]})}, environment="prod")
    found = canonical(both(data, other))
    assert found["prod/Data", "F"].properties["Environment"]["Variables"] == {
        "URI": "s3://${Data/Bucket}/x in ${AWS::Region}",
        "ARN": "${Data/F.Arn}",
    }


def test_a_definition_differs_in_one_value_not_as_a_whole() -> None:
    before, after = machine("M", A={"Retry": [{"MaxAttempts": 3}]}), machine("M", A={"Retry": [{"MaxAttempts": 4}]})
    change = changes({"M": before, "B": bucket()}, {"M": after, "B": bucket()})["Data/M"]
    path = ("Properties", "DefinitionString", "States", "A", "Retry", "0", "MaxAttempts")
    assert change.differences == (Difference(path, 3, 4),)


def test_a_reference_is_the_same_as_a_substitution_that_takes_its_place() -> None:
    before, after = ({"M": made("M", A={"Type": "Succeed"}), "B": bucket()} for made in (machine, substituted))
    assert changes(before, after) == {}


def test_a_substitution_differs_where_the_definition_has_its_placeholder() -> None:
    before, after = substituted("M"), substituted("M")
    after["Properties"]["DefinitionSubstitutions"]["Bucket"] = "other"
    change = changes({"M": before, "B": bucket()}, {"M": after, "B": bucket()})["Data/M"]
    assert change.differences == (Difference(("Properties", "DefinitionString", "Comment"), "${Data/Bucket}", "other"),)


def test_a_function_of_cloudformation_inside_a_text_does_not_end_it() -> None:
    text = {"Fn::Join": ["", ['{"Image": "', {"Fn::FindInMap": ["Registry", {"Ref": "AWS::Region"}, "account"]}, '"}']]}
    found = canonical(assembly({"D": resource("CloudWatch::Dashboard", "D", {"DashboardBody": text})}))
    assert list(found["dev/Data", "D"].properties["DashboardBody"]) == ["Image"]


def test_text_that_only_looks_like_json_stays_text() -> None:
    variables = {"DEEP": "[" * 100_000, "BRACES": "{x}"}
    found = canonical(assembly({"F": function("F", **variables)}))["dev/Data", "F"]
    assert found.properties["Environment"]["Variables"] == variables


def test_the_functions_code_is_a_difference() -> None:
    assert impacts({"F": function("F", "a"), "B": bucket()}, {"F": function("F", "b"), "B": bucket()}) == {
        "Data/F": "update"
    }


@pytest.mark.parametrize(
    ("kind", "prop", "impact"),
    [
        ("S3::Bucket", "BucketName", "replace"),
        ("S3::Bucket", "VersioningConfiguration", "update"),
        ("SageMaker::Endpoint", "EndpointName", "replace"),
        ("SageMaker::Endpoint", "EndpointConfigName", "update"),
        ("SageMaker::EndpointConfig", "ProductionVariants", "replace"),
        ("ElastiCache::ReplicationGroup", "SnapshotName", "replace"),
        ("RDS::DBInstance", "Engine", "may replace"),
        ("Unknown::Type", "Name", "update"),
    ],
)
def test_cloudformations_specification_decides_what_is_replaced(kind: str, prop: str, impact: str) -> None:
    before, after = ({"X": resource(kind, "X", {prop: value})} for value in ("a", "b"))
    assert impacts(before, after) == {"Data/X": impact}


def test_without_the_specification_it_prints_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(specification, "DATABASE", tmp_path / "db.json.gz")
    with pytest.raises(OpsError, match="make setup"):
        resource_types.__wrapped__()  # past its cache


def test_a_reference_to_a_replaced_resource_in_an_immutable_property_replaces_its_resource_too() -> None:
    def named(name: str) -> Resources:
        return {
            "B": bucket(BucketName=name),
            "P": resource("S3::BucketPolicy", "Bucket/Policy", {"Bucket": {"Ref": "B"}}),
            "F": function("F", BUCKET={"Ref": "B"}),
        }

    found = changes(named("a"), named("b"))
    assert {name: change.impact for name, change in found.items()} == {
        "Data/Bucket": "replace",
        "Data/Bucket/Policy": "replace",
    }
    assert found["Data/Bucket"].cause == "BucketName"
    assert found["Data/Bucket/Policy"].cause == "Bucket refers to Data/Bucket"


def test_a_renamed_construct_is_one_replacement_and_references_to_it_are_no_differences() -> None:
    def app(name: str, identity: str) -> Resources:
        arn = {"Fn::Join": ["", [{"Fn::GetAtt": [identity, "Arn"]}, "/*"]]}
        return {
            identity: bucket(name),
            f"{identity}Policy": resource("S3::BucketPolicy", f"{name}/Policy", {"Bucket": {"Ref": identity}}),
            "F": function("F", BUCKET={"Ref": identity}),
            "R": role(),
            "P": policy(allow("s3:GetObject", arn)),
        }

    found = changes(app("Bucket", "B"), app("Pictures", "C"))
    assert {name: (change.impact, change.cause) for name, change in found.items()} == {
        "Data/Pictures": ("replace", "was Data/Bucket, references: 3"),
        "Data/Pictures/Policy": ("replace", "was Data/Bucket/Policy"),
    }


@pytest.mark.parametrize(("identity", "reached"), [("C", True), ("B", False)], ids=["renamed", "in place"])
def test_another_stack_is_affected_by_a_replacement_if_its_reference_changes(*, identity: str, reached: bool) -> None:
    """As in `cdk diff`: a bucket with another BucketName leaves the other stack's template as it is."""

    def app(identity: str, name: str) -> Assembly:
        output = {f"ExportsOutputRef{identity}": {"Value": {"Ref": identity}}}
        reference = {"Fn::ImportValue": f"scones-dev-Data:ExportsOutputRef{identity}"}
        config = resource("SageMaker::EndpointConfig", "Config", {"DataCaptureConfig": {"DestinationS3Uri": reference}})
        data = assembly({identity: bucket(f"Bucket{identity}", BucketName=name)}, Outputs=output)
        return both(data, assembly({"E": config}, environment="prod"))

    found = compare(app("B", "a"), app(identity, "a" if reached else "b")).changes
    assert ("prod/Data" in {change.resource.stack for change in found if change.impact == "replace"}) == reached
    assert [change.importers for change in found if change.resource.type == "AWS::S3::Bucket"] == [1]


def test_equal_constructs_that_moved_are_paired_by_name() -> None:
    def app(folder: str, **identities: str) -> Resources:
        logs = {identity: resource("Logs::LogGroup", f"{folder}{name}") for name, identity in identities.items()}
        return {**logs, **{f"F{name}": function(name, LOGS={"Ref": i}) for name, i in identities.items()}}

    found = changes(app("", Classifier="C1", Filter="F1"), app("Steps/", Classifier="X2", Filter="A2"))
    assert {name: change.cause for name, change in found.items()} == {
        "Data/Steps/Classifier": "was Data/Classifier, references: 1",
        "Data/Steps/Filter": "was Data/Filter, references: 1",
    }


def test_indistinguishable_constructs_are_not_paired() -> None:
    before = {name: resource("Logs::LogGroup", name) for name in "AB"}
    after = {name: resource("Logs::LogGroup", name) for name in "CD"}
    assert sorted(impacts(before, after).values()) == ["create", "create", "delete", "delete"]


def test_a_construct_that_is_renamed_in_one_environment_keeps_its_name_in_the_other() -> None:
    def app(identity: str, name: str, environment: str) -> Assembly:
        resources = {identity: bucket(name), "F": function("F", BUCKET={"Ref": identity})}
        return assembly(resources, environment=environment)

    before = both(app("B", "Bucket", "dev"), app("B", "Bucket", "prod"))
    found = compare(before, both(app("C", "Pictures", "dev"), app("B", "Bucket", "prod"))).changes
    assert [(change.resource.stack, change.resource.name) for change in found] == [("dev/Data", "Data/Pictures")]


def test_a_resource_that_keeps_its_logical_id_under_another_path_is_the_same() -> None:
    def app(name: str) -> Resources:
        policy = resource("S3::BucketPolicy", "Policy", {"Bucket": {"Ref": "B"}})
        return {"B": bucket(name), "P": policy, "F": function("F", BUCKET={"Ref": "B"})}

    assert changes(app("Bucket"), app("Pictures")) == {}


@pytest.mark.parametrize(("retained", "impact"), [(False, "delete"), (True, "orphan")])
def test_a_removed_resource_is_deleted_or_orphaned_according_to_its_policy(*, retained: bool, impact: str) -> None:
    assert impacts({"B": bucket(retained=retained)}, {}) == {"Data/Bucket": impact}


def test_a_replaced_resource_is_retained_only_if_it_was_and_still_is_said_so() -> None:
    retained, not_retained = bucket(retained=True, BucketName="a"), bucket(BucketName="a")
    for before in (retained, not_retained):
        for after in (bucket(retained=True, BucketName="b"), bucket(BucketName="b")):
            change = changes({"B": before}, {"B": after})["Data/Bucket"]
            assert change.is_retained == (before is retained and after["UpdateReplacePolicy"] == "Retain")
