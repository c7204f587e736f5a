"""The synthesized policies allow what each role needs (role_needs.py) and no more; no statement is superfluous.

Policies are evaluated as IAM does: by the emulator's evaluator, on templates whose references are filled in, and every
decision a second time by another evaluator.
"""

import copy
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ministack.core import iam_evaluator

from local.permissions import CALLER, EXECUTION_ROLE, Permission, needed, own_action
from scanners.policies import ACCOUNT, REGION, Environment
from tests.infrastructure.calls import calls
from tests.infrastructure.role_needs import NEEDS, NEVER, OBJECT, SAGEMAKER, STATES
from tests.infrastructure.second_opinion import Question, Statements, decide

# The condition keys of a correct request
CONTEXT = {
    "cloudwatch:namespace": "/aws/sagemaker/Endpoints",
    "iam:passedtoservice": "sagemaker.amazonaws.com",
    "kms:viaservice": f"s3.{REGION}.amazonaws.com",
}


class Roles:
    """The roles of one environment, and requests with the names that they would meet there."""

    def __init__(self, assembly: Path, name: str) -> None:
        self.environment = Environment(assembly, name)
        self.name = name
        self.statements: dict[str, Statements] = {}
        for policy in self.environment.role_policies():
            self.statements.setdefault(policy.owner, []).extend(policy.statements)
        self.of_sagemaker: dict[str, set[Permission]] = defaultdict(set)
        for role, call in calls(self.environment, name):
            own = [] if call.operation.endswith(".sync") else [own_action(call)]
            for permission in (*own, *needed(call)):
                owner = "SageMakerRole" if EXECUTION_ROLE in permission.principals else role
                # One name for all of the environment's jobs, models and endpoint configs
                resource = re.sub(rf"(?<=/scones-{name}-)[^/]+$", "j", permission.resource)
                self.of_sagemaker[owner].add(replace(permission, resource=resource, principals=(CALLER,)))
        self.needs = {role: {*self.requests(NEEDS[role], role), *self.of_sagemaker[role]} for role in NEEDS}
        self.all_needs = set[Permission]().union(*self.needs.values())

    def requests(self, lines: str, role: str) -> list[Permission]:
        buckets = self.environment.arns("AWS::S3::Bucket")
        functions = self.environment.arns("AWS::Lambda::Function")
        machines = self.environment.arns("AWS::StepFunctions::StateMachine")
        groups = self.environment.arns("AWS::Logs::LogGroup")
        (topic,) = self.environment.arns("AWS::SNS::Topic").values()
        bucket = buckets["Bucket"].removeprefix("arn:aws:s3:::")
        own_logs = groups.get(f"{role.removesuffix('Role')}Logs", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:none")
        values = {
            "object": OBJECT.replace("{bucket}", bucket),
            "sagemaker": SAGEMAKER,
            "states": STATES,
            "parameter": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/scones/{self.name}/model/",
            "bucket": bucket,
            "env": self.name,
            "bootstrap_version": self.environment.bootstrap_version,
            "topic": topic,
            "own_logs": f"{own_logs.removesuffix(':*')}:log-stream:s",
            **{f"function:{name}": arn for name, arn in functions.items()},
            **{f"machine:{name}": arn for name, arn in machines.items()},
            **{f"execution:{name}": self.execution(name, arn) for name, arn in machines.items()},
            **{
                f"named_machine:{name}": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:scones-{self.name}-{name}"
                for name in ("DistributedMap", "retraining")
            },
            **{
                f"stack:{name}": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/scones-{self.name}-{name}/id"
                for name in ("Data", "Model")
            },
            **{f"queue:{name}": arn for name, arn in self.environment.arns("AWS::SQS::Queue").items()},
            **{f"role:{name}": arn for name, arn in self.environment.arns("AWS::IAM::Role").items()},
        }
        filled = re.sub(r"\{([A-Za-z_:]+)\}", lambda match: values[match[1]], lines)
        words = [line.split() for line in filled.splitlines() if line.strip()]
        return [
            Permission(action, resource, tuple((key, value) for key, _, value in (c.partition("=") for c in context)))
            for action, resource, *context in words
        ]

    def execution(self, machine: str, arn: str) -> str:
        """What the ARNs of a state machine's executions begin with."""
        named = f"scones-{self.name}-retraining" if machine == "RetrainingWorkflow" else arn.rpartition(":")[2]
        return f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{named}"


def allows(statements: Statements, request: Permission) -> bool:
    context = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=request.action,
        resource_arn=request.resource,
        region=REGION,
        secure_transport=True,
        service_context=CONTEXT | {key.lower(): value for key, value in request.context},
    )
    policy = iam_evaluator.parse_policy_document({"Version": "2012-10-17", "Statement": statements})
    return bool(iam_evaluator.evaluate(context, [policy]).decision == "Allow")


@pytest.fixture(scope="module")
def roles(assembly: Path, environment: str) -> Roles:
    return Roles(assembly, environment)


@pytest.mark.parametrize("role", NEEDS)
def test_a_role_may_do_all_that_it_needs(roles: Roles, role: str) -> None:
    for request in roles.needs[role]:
        assert allows(roles.statements[role], request), request


@pytest.mark.parametrize("role", NEEDS)
def test_a_role_may_do_nothing_that_only_others_need(roles: Roles, role: str) -> None:
    own = roles.needs[role]
    for request in roles.all_needs:
        if not own & {request, replace(request, context=())}:
            assert not allows(roles.statements[role], request), request


def test_these_are_all_roles_but_those_of_schedules(roles: Roles) -> None:
    of_schedules = {role for role in roles.statements if role.startswith("SchedulerRoleForTarget")}
    assert set(roles.statements) - of_schedules == set(NEEDS)
    functions = roles.environment.arns("AWS::Lambda::Function")
    started = []
    for role in of_schedules:
        (statement,) = roles.statements[role]
        assert statement["Action"] == "lambda:InvokeFunction"
        started.append(statement["Resource"][0])
    assert sorted(started) == sorted(functions[name] for name in ("DriftMonitor", "ModelAccuracy"))


def test_no_role_has_a_permission_that_nobody_needs(roles: Roles) -> None:
    for role, statements in roles.statements.items():
        for request in roles.requests(NEVER, role):
            assert not allows(statements, request), (role, request)


def mutants(statements: Statements) -> Iterator[tuple[str, Statements]]:
    """The statements with one removed, one action less, or one resource narrowed to a wrong place."""
    for index, statement in enumerate(statements):
        name = statement.get("Sid") or f"statement {index}"
        yield f"without {name}", [s for s in statements if s is not statement]
        actions, resources = (
            [value] if isinstance(value, str) else value for value in (statement["Action"], statement["Resource"])
        )
        for action in actions:
            changed = copy.deepcopy(statements)
            changed[index]["Action"] = [a for a in actions if a != action] or ["none:None"]
            yield f"{name} without {action}", changed
        for resource in resources:
            changed = copy.deepcopy(statements)
            narrowed = "arn:aws:none:::none" if resource == "*" else resource.replace("*", "wrong/*") + "-wrong"
            changed[index]["Resource"] = [narrowed if r == resource else r for r in resources]
            yield f"{name} with {narrowed}", changed


def is_judged_here(mutant: str) -> bool:
    """The use of the key follows from the other rights (test_encryption.py); CDK adds a function's versions."""
    return "UseKeyFor" not in mutant and not mutant.endswith(":wrong/*-wrong")


@pytest.mark.parametrize("role", NEEDS)
def test_every_statement_action_and_resource_is_needed(roles: Roles, role: str) -> None:
    needs = roles.needs[role]
    survivors = [
        name
        for name, statements in mutants(roles.statements[role])
        if is_judged_here(name) and all(allows(statements, request) for request in needs)
    ]
    assert not survivors


def decisions(roles: Roles) -> Iterator[tuple[Statements, Permission]]:
    """What the tests above decide: every request of every role, and the one that each mutant refuses."""
    for role, statements in roles.statements.items():
        for request in (*roles.all_needs, *roles.requests(NEVER, role)):
            yield statements, request
        for name, mutant in mutants(statements) if role in NEEDS else ():
            if is_judged_here(name):
                yield mutant, next(request for request in roles.needs[role] if not allows(mutant, request))


def questions(roles: Roles) -> Iterator[tuple[bool, Question]]:
    """Every decision, and what the other evaluator is asked."""
    keys = [p.statements for p in roles.environment.resource_policies() if p.owner.startswith("AWS::KMS::Key")]
    for statements, request in decisions(roles):
        yield (
            allows(statements, request),
            Question(
                statements,
                request.action,
                request.resource,
                CONTEXT | dict(request.context),
                # A key's policy decides about the key, and delegates to the policies of the account's roles
                resource_policy=keys[0] if keys and request.action.startswith("kms:") else [],
            ),
        )


def test_another_evaluator_decides_the_same(assembly: Path) -> None:
    asked = [question for name in ("dev", "prod") for question in questions(Roles(assembly, name))]
    opinions = decide([question for _, question in asked])
    assert len(asked) > 10_000
    differing = {
        (question.action, question.resource, opinion)
        for (is_allowed, question), opinion in zip(asked, opinions, strict=True)
        if opinion not in (("Allowed",) if is_allowed else ("ImplicitlyDenied", "ExplicitlyDenied"))
    }
    assert not differing, "\n".join(map(str, sorted(differing)))
