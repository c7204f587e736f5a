"""The report on a change: its sentences, with their sections and environments."""

import re
from typing import Any

import pytest

from ops.changes import ABSENT, Difference
from ops.diff_report import Row, diff_report, excerpt
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
)


def sentences(before: Resources, after: Resources, *, details: bool = False) -> list[tuple[str, str]]:
    rows = diff_report(assembly(before), assembly(after)).rows
    return [(row.section, row.text) for row in rows if details or not row.is_detail]


def permissions(before: Resources, after: Resources, *, details: bool = False) -> list[str]:
    return [text for section, text in sentences(before, after, details=details) if section == "Security"]


def test_an_unchanged_application_has_no_sentence() -> None:
    app = {"B": bucket(), "F": function("F")}
    assert diff_report(assembly(app), assembly(app)).rows == ()


def test_a_changed_value_is_named_with_its_resources_and_its_environments() -> None:
    def at(threshold: str) -> Resources:
        return {name: function(name, CONFIDENCE_THRESHOLD=threshold) for name in ("Filter", "Monitor")}

    dev, prod = (assembly(at("0.9"), environment=name) for name in ("dev", "prod"))
    text = "CONFIDENCE_THRESHOLD 0.9 → 0.8 (Data/Filter, Data/Monitor)"
    assert diff_report(both(dev, prod), both(assembly(at("0.8")), prod)).rows == (
        Row("Behaviour", text, False, ("dev",)),
    )
    everywhere = both(assembly(at("0.8")), assembly(at("0.8"), environment="prod"))
    assert diff_report(both(dev, prod), everywhere).rows == (Row("Behaviour", text, False, ("dev", "prod")),)


def test_a_resource_with_many_differences_is_one_sentence() -> None:
    before, after = (function("F", **{f"V{n}": value for n in range(9)}) for value in ("a", "b"))
    assert sentences({"F": before}, {"F": after}) == [("Behaviour", "9 values of Data/F")]


def test_changed_code_is_the_names_of_functions() -> None:
    before, after = ({name: function(name, code) for name in "ABCDEFGH"} for code in ("a", "b"))
    assert sentences(before, after) == [("Behaviour", "code of 8 functions: A, B, C, D, E and 3 more")]


def test_a_definition_is_the_states_that_changed_came_and_went() -> None:
    def with_states(**states: Any) -> Resources:
        return {"M": machine("Workflow", **states), "B": bucket()}

    inner = {"Map": {"ItemProcessor": {"States": {"Inner": {"Next": "a"}}}}}
    changed_inner = {"Map": {"ItemProcessor": {"States": {"Inner": {"Next": "b"}}}}}
    assert sentences(with_states(Old={}, **inner), with_states(New={}, **changed_inner)) == [
        ("Behaviour", "states of Data/Workflow: 1 changed (Inner), 1 added (New), 1 removed (Old)")
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            {"B": bucket(BucketName="a")},
            {"B": bucket(BucketName="b")},
            "REPLACES the bucket Data/Bucket (BucketName). Lost: the data set, models, predictions and captures in it.",
        ),
        (
            {"B": bucket(retained=True, BucketName="a")},
            {"B": bucket(retained=True, BucketName="b")},
            "REPLACES the bucket Data/Bucket (BucketName). "
            "The old one stays, unused, with the data set, models, predictions and captures in it.",
        ),
        (
            {"E": resource("SageMaker::Endpoint", "Endpoint")},
            {},
            "DELETES the endpoint Data/Endpoint. Lost: predictions, until the new one is in service.",
        ),
        (
            {"B": bucket(retained=True)},
            {},
            "ORPHANS the bucket Data/Bucket. It stays in the account, and no stack manages it.",
        ),
        (
            {"D": resource("RDS::DBInstance", "Db", {"Engine": "a"})},
            {"D": resource("RDS::DBInstance", "Db", {"Engine": "b"})},
            "MAY REPLACE the AWS::RDS::DBInstance Data/Db (Engine). Lost: what it holds.",
        ),
    ],
)
def test_lost_state_comes_first_and_is_counted(before: Resources, after: Resources, expected: str) -> None:
    found = diff_report(assembly({**before, "F": function("F", "a")}), assembly({**after, "F": function("F", "b")}))
    assert (found.rows[0].section, found.rows[0].text) == ("Lost", expected)
    assert found.lost == 1


def test_resources_without_state_are_counted_or_named() -> None:
    before = {"F": function("Old"), "E": resource("SageMaker::Model", "Model", {"ModelName": "a"})}
    after = {
        "G": function("New", "b"),
        "E": resource("SageMaker::Model", "Model", {"ModelName": "b"}),
        "R": resource("Events::Rule", "Rule"),
    }
    found = diff_report(assembly(before), assembly(after))
    assert [row.text for row in found.rows if row.section == "Resources"] == [
        "creates 1 Lambda::Function, 1 Events::Rule",
        "replaces Data/Model (ModelName)",
        "deletes Data/Old",
    ]
    assert found.lost == 0


def test_a_grant_is_a_sentence_with_the_role_the_action_and_the_prefix() -> None:
    def granting(*actions: str) -> Resources:
        target = {"Fn::Join": ["", [{"Fn::GetAtt": ["B", "Arn"]}, "/predictions/*"]]}
        return {"B": bucket(), "R": role("FilterConfidenceRole"), "P": policy(allow(list(actions), target))}

    less, more = granting("s3:PutObject"), granting("s3:PutObject", "s3:GetObject")
    assert sentences(less, more) == [
        ("Security", "Data/FilterConfidence may now s3:GetObject on Data/Bucket/predictions/*")
    ]
    assert sentences(more, less) == [
        ("Security", "Data/FilterConfidence may no longer s3:GetObject on Data/Bucket/predictions/*")
    ]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (allow(["a:X", "a:Y"], "*"), "Data/Function may now a:X, a:Y on *"),
        (allow("a:X", "*", Condition={"Bool": {"k": "v"}}), 'Data/Function may now a:X on *, if {"Bool": {"k": "v"}}'),
        ({"Effect": "Deny", "Action": "a:X", "Resource": "*"}, "Data/Function is now denied a:X on *"),
        (
            {"Effect": "Allow", "NotAction": ["a:X", "a:Y"], "Resource": "*"},
            "Data/Function may now all but a:X, a:Y on *",
        ),
        ({"Effect": "Allow", "Action": "a:X", "NotResource": "r"}, "Data/Function may now a:X on all but r"),
        (
            allow("a:X", {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":s3:::name/*"]]}),
            "Data/Function may now a:X on name/*",
        ),
    ],
)
def test_every_kind_of_statement_is_a_sentence(statement: dict[str, Any], expected: str) -> None:
    before: Resources = {"R": role("FunctionRole"), "P": policy()}
    assert permissions(before, {**before, "P": policy(statement)}) == [expected]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            resource("SNS::TopicPolicy", "X", {"PolicyDocument": {"Statement": [allow("sns:*", "*", Principal="*")]}}),
            "anyone may now sns:* on *",
        ),
        (
            resource(
                "KMS::Key", "X", {"KeyPolicy": {"Statement": [allow("kms:*", "*", Principal={"AWS": ["a", "b"]})]}}
            ),
            "a may now kms:* on *",
        ),
        (
            role("X", {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "x.amazonaws.com"}}),
            "x.amazonaws.com may now sts:AssumeRole on Data/X",
        ),
        (
            resource(
                "Lambda::Permission",
                "X",
                {"Action": "lambda:InvokeFunction", "FunctionName": "f", "Principal": "*", "SourceAccount": "1"},
            ),
            'anyone may now lambda:InvokeFunction on f, if {"SourceAccount": "1"}',
        ),
    ],
)
def test_permissions_of_others_on_a_resource_are_sentences(changed: dict[str, Any], expected: str) -> None:
    kind = changed["Type"].removeprefix("AWS::")
    before = (
        role("X")
        if kind == "IAM::Role"
        else resource(kind, "X", {"FunctionName": "f", "Principal": "b", "Action": "c"})
    )
    assert expected in permissions({"X": before}, {"X": changed})


def test_a_statement_that_moves_to_another_policy_is_not_a_new_permission() -> None:
    both_here = {"R": role(), "P": policy(allow("a:X", "*"), allow("a:Y", "*")), "Q": policy(name="Role/Other")}
    apart = {"R": role(), "P": policy(allow("a:X", "*")), "Q": policy(allow("a:Y", "*"), name="Role/Other")}
    assert permissions(both_here, apart, details=True) == []


def test_permissions_of_new_roles_are_counted_but_broad_ones_are_said() -> None:
    new = {
        "R": role("NewRole"),
        "P": policy(allow(["a:X", "a:Y"], "x"), allow("b:*", "y"), allow([], "z") | {"NotAction": "c:Z"}),
    }
    assert permissions({}, new) == [
        "permissions of new roles: Data/New 4",
        "Data/New may now all but c:Z on z",
        "Data/New may now b:* on y",
    ]
    assert "Data/New may now a:X, a:Y on x" in permissions({}, new, details=True)


@pytest.mark.parametrize(
    ("kind", "prop"),
    [
        ("S3::Bucket", "PublicAccessBlockConfiguration"),
        ("S3::Bucket", "BucketEncryption"),
        ("SNS::Topic", "KmsMasterKeyId"),
        ("Lambda::Function", "VpcConfig"),
        ("IAM::Role", "ManagedPolicyArns"),
        ("IAM::Role", "PermissionsBoundary"),
    ],
)
def test_exposure_is_security(kind: str, prop: str) -> None:
    trust: dict[str, Any] = {"AssumeRolePolicyDocument": {"Statement": []}} if kind == "IAM::Role" else {}
    before, after = resource(kind, "X", {**trust, prop: ["a"]}), resource(kind, "X", trust)
    assert sentences({"X": before}, {"X": after}) == [("Security", f'{prop} ["a"] → unset (Data/X)')]


def test_the_price_of_an_idle_month_is_said_if_it_changes() -> None:
    def on(instance_type: str) -> Resources:
        variant = {"InstanceType": instance_type, "InitialInstanceCount": 1}
        return {"E": resource("SageMaker::EndpointConfig", "Config", {"ProductionVariants": [variant]})}

    (price,) = [text for section, text in sentences(on("ml.m5.large"), on("ml.m5.xlarge")) if section == "Price"]
    assert price.startswith("+83.95 USD a month while idle (")
    assert sentences(on("ml.m5.large"), on("ml.m5.large")) == []
    assert sentences(on("ml.x1.unheard"), on("ml.x1.unheard")) == [], "what is not known has not changed"
    (price,) = [text for section, text in sentences(on("ml.m5.large"), on("ml.x1.unheard")) if section == "Price"]
    assert re.fullmatch(r"USD a month while idle: [\d.]+ → unknown", price)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("0.9", "0.8", "0.9 → 0.8"),
        (ABSENT, True, "unset → true"),
        ("two it", None, '"two it" → null'),
        ("x" * 90 + "old" + "y" * 90, "x" * 90 + "new" + "y" * 90, "…xxxxxoldyy… → …xxxxxnewyy…"),
        ("a" * 30, ABSENT, "aaaaaaaaaa… → unset"),
    ],
)
def test_long_values_are_shown_around_the_difference(before: Any, after: Any, expected: str) -> None:
    assert excerpt(Difference((), before, after), width=10) == expected
