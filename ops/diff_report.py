"""Describes a change in words: lost state, permissions, behaviour and price."""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ops.canonical import Resource
from ops.changes import ABSENT, Change, Comparison, Difference, compare
from ops.cost.deployment import idle_month
from ops.cost.quantities import amount
from ops.grants import Grant, grants
from ops.specification import resource_types
from ops.templates import Assembly

Section = Literal["Lost", "Security", "Price", "Resources", "Behaviour"]

# By type: its name, and what is lost with a resource that holds state
STATEFUL = {
    "AWS::S3::Bucket": ("bucket", "the data set, models, predictions and captures in it"),
    "AWS::SageMaker::Endpoint": ("endpoint", "predictions, until the new one is in service"),
    "AWS::SageMaker::ModelPackageGroup": ("model package group", "the registered versions of the model"),
    "AWS::KMS::Key": ("key", "access to everything that it encrypted"),
    "AWS::SNS::Topic": ("topic", "its subscriptions: every address must confirm again"),
    "AWS::SQS::Queue": ("queue", "the messages in it"),
    "AWS::Logs::LogGroup": ("log group", "the logs in it"),
    "AWS::SSM::Parameter": ("parameter", "its value"),
}
_VERBS = {"replace": "REPLACES", "may replace": "MAY REPLACE", "delete": "DELETES", "orphan": "ORPHANS"}
# Names of properties that control access to a resource or its content
_EXPOSURE = re.compile(
    r"Public|Encrypt|K(ms|MS)|AccessControl|Ownership|Network|Vpc|Isolation|Boundary|ManagedPolicy|AuthType|Versioning"
    r"|^(Role|RoleArn|ExecutionRoleArn|DataCaptureConfig|LoggingConfiguration)$"
)
FEW = 5  # names in a sentence, values of a resource; the rest is counted


@dataclass(frozen=True)
class Row:
    """One sentence, and the environments to which it applies."""

    section: Section
    text: str
    is_detail: bool  # of an entirely new resource: too much for a summary
    environments: tuple[str, ...]


@dataclass(frozen=True)
class DiffReport:
    rows: tuple[Row, ...]
    changes: tuple[Change, ...]

    @property
    def lost(self) -> int:
        """How many resources that hold state are replaced, deleted or orphaned."""
        return sum(change.impact in _VERBS and _holds_state(change) for change in self.changes)


def diff_report(before: Assembly, after: Assembly) -> DiffReport:
    comparison = compare(before, after)
    environments: dict[tuple[Section, str, bool], set[str]] = defaultdict(set)
    for environment in sorted({stack.partition("/")[0] for stack in (*before.templates, *after.templates)}):
        for sentence in _sentences(environment, comparison, before, after):
            environments[sentence].add(environment)
    rows = [Row(*sentence, tuple(sorted(true_of))) for sentence, true_of in environments.items()]
    order = get_args(Section)
    return DiffReport(tuple(sorted(rows, key=lambda row: order.index(row.section))), comparison.changes)


def _sentences(
    environment: str, comparison: Comparison, before: Assembly, after: Assembly
) -> Iterator[tuple[Section, str, bool]]:
    mine = [change for change in comparison.changes if change.resource.environment == environment]
    for change in mine:
        if change.impact in _VERBS and _holds_state(change):
            yield "Lost", _loss(change), False
    sides = (
        [r for r in side.values() if r.environment == environment] for side in (comparison.before, comparison.after)
    )
    for text, is_detail in _permissions(*sides):
        yield "Security", text, is_detail
    rest: list[tuple[Section, Iterable[str]]] = [
        ("Security", _values(mine, exposing=True)),
        ("Price", _price(environment, before, after)),
        ("Resources", _made_and_gone(mine)),
        ("Behaviour", [*_code(mine), *_states(mine), *_values(mine, exposing=False)]),
    ]
    for section, texts in rest:
        yield from ((section, text, False) for text in texts)


def shown(value: Any) -> str:
    """A value as a word or as JSON."""
    if value is ABSENT:
        return "unset"
    is_word = isinstance(value, str) and re.fullmatch(r"[\w.:/-]+", value)
    return value if is_word else json.dumps(value, ensure_ascii=False)


def excerpt(difference: Difference, *, width: int | None = None) -> str:
    """Both values, or the parts of long ones around the first different character."""
    texts = shown(difference.before), shown(difference.after)
    longest = max(map(len, texts))
    width = width or longest
    differs_at = next((at for at, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, min(differs_at - width // 2, longest - width))
    return " → ".join(
        ("…" if start else "") + text[start : start + width] + ("…" if len(text) > start + width else "")
        for text in texts
    )


def is_code(difference: Difference) -> bool:
    return difference.path[:2] == ("Properties", "Code")


def _is_of_policy(difference: Difference) -> bool:
    return difference.path[2:3] == ("Statement",) or difference.path[1:2] == ("Policies",)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")


def _holds_state(change: Change) -> bool:
    kind = change.resource.type
    return kind in STATEFUL or (kind in resource_types() and resource_types()[kind].is_stateful)


def _loss(change: Change) -> str:
    noun, loss = STATEFUL.get(change.resource.type, (change.resource.type, "what it holds"))
    fate = f"The old one stays, unused, with {loss}" if change.is_retained else f"Lost: {loss}"
    if change.impact == "orphan":
        fate = "It stays in the account, and no stack manages it"
    cause = f" ({change.cause})" if change.cause else ""
    if change.importers:
        fate += f". CloudFormation refuses that while other stacks import it: {change.importers} resources"
    return f"{_VERBS[change.impact]} the {noun} {change.resource.name}{cause}. {fate}."


def _made_and_gone(found: Sequence[Change]) -> Iterator[str]:
    """Resources without state, by the change."""
    kinds = Counter(change.resource.type.removeprefix("AWS::") for change in found if change.impact == "create")
    if kinds:
        yield f"creates {_few([f'{number} {kind}' for kind, number in kinds.most_common()])}"
    for impact, verb in _VERBS.items():
        names = [
            f"{change.resource.name} ({change.cause})" if change.cause else change.resource.name
            for change in found
            if change.impact == impact and not _holds_state(change)
        ]
        if names:
            yield f"{verb.lower()} {_few(names)}"


def _permissions(before: Sequence[Resource], after: Sequence[Resource]) -> Iterator[tuple[str, bool]]:
    """Sentences, and whether their principal or resource exists on one side only."""
    old, new = grants(before), grants(after)
    names = [{f"${{{resource.name}}}" for resource in side} for side in (before, after)]
    gone, made = names[0] - names[1], names[1] - names[0]
    if of_new_roles := Counter(_name(grant.who) for grant in new - old if grant.who in made):
        yield f"permissions of new roles: {_few([f'{who} {n}' for who, n in sorted(of_new_roles.items())])}", False
    for allowed, denied, these, one_sided in (
        ("may now", "is now denied", new - old, made),
        ("may no longer", "is no longer denied", old - new, gone),
    ):
        actions: dict[Grant, list[str]] = defaultdict(list)
        for grant in sorted(these, key=lambda grant: (grant.who != "anyone", grant)):
            actions[grant._replace(action="")].append(grant.action)
        for grant, several in actions.items():
            is_open = grant.who == "anyone" or any(re.search(r"\*$|^all but", action) for action in several)
            bearer = grant.who if grant.who.startswith("${") else grant.target.replace(".Arn}", "}")
            verb = allowed if grant.effect == "Allow" else denied
            condition = f", if {grant.condition}" if grant.condition else ""
            text = f"{_name(grant.who)} {verb} {', '.join(several)} on {_name(grant.target)}{condition}"
            yield text, bearer in one_sided and not (is_open and grant.effect == "Allow")


def _name(reference: str) -> str:
    """A principal or resource without the common part of the environment's ARNs."""
    short = re.sub(r"^arn:\$\{AWS::Partition\}:[\w-]+:(\$\{AWS::Region\})?:(\$\{AWS::AccountId\})?:", "", reference)
    short = re.sub(r"\$\{([\w/-]+)(\.Arn)?\}", r"\1", short)
    return short.removesuffix("/Role").removesuffix("Role")


def _code(found: Sequence[Change]) -> Iterator[str]:
    names = [change.resource.name.rpartition("/")[2] for change in found if any(map(is_code, change.differences))]
    if names:
        yield f"code of {len(names)} function{'s' if len(names) > 1 else ''}: {_few(names)}"


def _states(found: Sequence[Change]) -> Iterator[str]:
    for change in found:
        names: dict[str, list[str]] = {"changed": [], "added": [], "removed": []}
        for difference in change.differences:
            name, is_whole = _state_of(difference)
            word = "changed" if not is_whole else "added" if difference.before is ABSENT else "removed"
            if name and name not in names[word]:
                names[word].append(name)
        words = [f"{len(several)} {word} ({_few(several)})" for word, several in names.items() if several]
        if words:
            yield f"states of {change.resource.name}: {', '.join(words)}"


def _state_of(difference: Difference) -> tuple[str, bool]:
    """The innermost state in which a definition differs, and whether the state exists on one side only."""
    path = difference.path
    if path[:2] != ("Properties", "DefinitionString") or "States" not in path[:-1]:
        return "", False
    place = max(at for at, key in enumerate(path[:-1]) if key == "States") + 1
    return path[place], place == len(path) - 1


def _values(found: Sequence[Change], *, exposing: bool) -> Iterator[str]:
    """All other values, with one sentence for the same difference in several resources."""
    resources: dict[str, list[str]] = defaultdict(list)
    for change in found:
        mine = [
            each
            for each in change.differences
            if not (is_code(each) or _state_of(each)[0] or _is_of_policy(each))
            and any(map(_EXPOSURE.search, each.path)) == exposing
        ]
        if len(mine) > FEW and not exposing:
            yield f"{len(mine)} values of {change.resource.name}"
            continue
        for each in mine:
            path = ".".join(each.path).removeprefix("Properties.").removeprefix("Environment.Variables.")
            resources[f"{path} {excerpt(each, width=40)}"].append(change.resource.name)
    for text, names in sorted(resources.items(), key=lambda item: len(item[0])):
        yield f"{text} ({_few(names)})"


def _price(environment: str, *sides: Assembly) -> Iterator[str]:
    before, after = (
        idle_month({name: t for name, t in side.templates.items() if name.startswith(f"{environment}/")})
        for side in sides
    )
    if math.isnan(before) != math.isnan(after):
        yield f"USD a month while idle: {amount(before)} → {amount(after)}"
    elif abs(after - before) >= 0.005:
        yield f"{after - before:+,.2f} USD a month while idle ({before:,.2f} → {after:,.2f})"
