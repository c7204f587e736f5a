"""Computes what CloudFormation would create, update, replace or delete, and what differs in each resource."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, Literal, TypeVar

from ops.canonical import Key, Resource, canonical, sorted_json
from ops.specification import ResourceType, resource_types
from ops.templates import Assembly

Impact = Literal["create", "update", "may replace", "replace", "delete", "orphan"]
VERDICTS: dict[str, Impact] = {"yes": "replace", "maybe": "may replace"}
T = TypeVar("T", bound=Hashable)

ABSENT: Any = object()  # null is a value


@dataclass(frozen=True)
class Difference:
    """One value that differs; ABSENT on the side on which there is none."""

    path: tuple[str, ...]
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    """The change of one resource."""

    resource: Resource
    impact: Impact
    cause: str = ""  # that cause a replacement
    differences: tuple[Difference, ...] = ()
    is_retained: bool = False  # the replaced resource stays in the account
    importers: int = 0  # resources of other stacks that import it, which prevents its removal


@dataclass(frozen=True)
class Comparison:
    """All resources of both sides, and the changes of those that differ, by stack and name."""

    before: Mapping[Key, Resource]
    after: Mapping[Key, Resource]
    changes: tuple[Change, ...]


def compare(before: Assembly, after: Assembly) -> Comparison:
    new = canonical(after)
    names = {key: resource.name for key, resource in new.items()}
    old = canonical(before, names=names)
    moved = _moved(old, new)
    former = {key: old[key].name for key in moved}
    if moved:
        old = canonical(before, names={**names, **{key: names[other] for key, other in moved.items()}})
    found = {key: Change(new[key], "create") for key in new.keys() - old.keys() - set(moved.values())}
    for key, resource in old.items():
        if key in moved:
            referring = sum(moved[key] in _references(each) for each in new.values())
            cause = f"was {former[key]}" + (f", references: {referring}" if referring else "")
            found[key] = _replacement(resource, new[moved[key]], cause)
        elif key not in new:
            found[key] = Change(resource, "orphan" if _keeps(resource, "DeletionPolicy") else "delete")
        elif update := _update(resource, new[key]):
            found[key] = update
    _propagate(found, old, new, moved)
    for key, change in found.items():
        if change.impact in {"replace", "may replace", "delete", "orphan"}:
            others = sum(key in _references(each) for other, each in old.items() if other[0] != key[0])
            found[key] = replace(change, importers=others)
    in_order = sorted(found.values(), key=lambda change: (change.resource.stack, change.resource.name))
    return Comparison(old, new, tuple(in_order))


def differences(before: Any, after: Any, path: tuple[str, ...] = ()) -> Iterator[Difference]:
    """The smallest values that differ; elements of a list are matched by their content, not by their index."""
    if before is ABSENT or after is ABSENT:
        yield Difference(path, before, after)
    elif sorted_json(before) == sorted_json(after):  # in Python, True == 1
        return
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from differences(before.get(key, ABSENT), after.get(key, ABSENT), (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        texts, others = (list(map(sorted_json, side)) for side in (before, after))
        for kind, start, end, other, other_end in SequenceMatcher(None, texts, others, autojunk=False).get_opcodes():
            pairs = zip_longest(before[start:end], after[other:other_end], fillvalue=ABSENT)
            for index, (left, right) in enumerate(pairs if kind != "equal" else (), start):
                yield from differences(left, right, (*path, str(index)))
    else:
        yield Difference(path, before, after)


def _references(resource: Resource) -> frozenset[Key]:
    return frozenset[Key]().union(*resource.references.values())


def _keeps(resource: Resource, policy: str) -> bool:
    return str(resource.content.get(policy, "")).startswith("Retain")


def _replacement(before: Resource, after: Resource, cause: str, found: tuple[Difference, ...] = ()) -> Change:
    # An UpdateReplacePolicy that the same update adds may come too late
    is_retained = _keeps(before, "UpdateReplacePolicy") and _keeps(after, "UpdateReplacePolicy")
    return Change(after, "replace", cause, found, is_retained)


def _update(before: Resource, after: Resource) -> Change | None:
    found = tuple(differences(before.content, after.content))
    if before.type != after.type:
        return _replacement(before, after, f"was {before.type}", found)
    impact, cause = _impact(before.type, {each.path[1] for each in found if len(each.path) > 1})
    change = replace(_replacement(before, after, cause, found), impact=impact)
    return change if found else None


def _impact(type_name: str, properties: set[str]) -> tuple[Impact, str]:
    """The impact of a change of these properties, and the properties that cause it."""
    replacing = resource_types().get(type_name, ResourceType({})).replacing
    for verdict, impact in VERDICTS.items():
        if causes := sorted(name for name in properties if replacing.get(name) == verdict):
            return impact, ", ".join(causes)
    return "update", ""


def _propagate(
    found: dict[Key, Change], old: Mapping[Key, Resource], new: Mapping[Key, Resource], moved: Mapping[Key, Key]
) -> None:
    """A reference to a replaced resource gets a new value, which may replace its resource, too, as in `cdk diff`."""
    replaced = {moved.get(key, key) for key, change in found.items() if change.impact == "replace"}
    while replaced:
        key = replaced.pop()
        for other, resource in new.items():
            # A reference from another stack's template changes only with the logical id
            is_reached = other[0] == key[0] or key in moved.values()
            if not is_reached or other not in old or (other in found and found[other].impact == "replace"):
                continue
            names = {name for name, targets in resource.references.items() if key in targets}
            impact, cause = _impact(resource.type, names)
            if impact != "update":
                known = found[other].differences if other in found else ()
                change = _replacement(old[other], resource, f"{cause} refers to {new[key].name}", known)
                found[other] = replace(change, impact=impact)
            if impact == "replace":
                replaced.add(other)


def _moved(old: Mapping[Key, Resource], new: Mapping[Key, Resource]) -> dict[Key, Key]:
    """Resources of which only the logical id changed. CloudFormation creates them again."""
    gone, made = old.keys() - new.keys(), new.keys() - old.keys()
    names = sorted({old[key].name for key in gone} | {new[key].name for key in made}, key=len, reverse=True)
    reference = re.compile(rf"\$\{{({'|'.join(map(re.escape, names))})(?=[.}}])")

    def shape(resource: Resource) -> tuple[str, str, str]:
        text = sorted_json({**resource.content, "DependsOn": []})
        return resource.stack, resource.type, reference.sub("${", text)

    pairs: dict[Key, Key] = {}
    made_by_shape = _grouped(made, lambda key: shape(new[key]))
    for same, olds in _grouped(gone, lambda key: shape(old[key])).items():
        news = made_by_shape.get(same, [])
        if len(olds) == len(news) == 1:
            pairs[olds[0]] = news[0]
            continue
        # The last part of the path distinguishes equal resources
        by_name = _grouped(news, lambda key: new[key].name.rpartition("/")[2])
        for name, alike in _grouped(olds, lambda key: old[key].name.rpartition("/")[2]).items():
            if len(alike) == len(by_name.get(name, [])) == 1:
                pairs[alike[0]] = by_name[name][0]
    return pairs


def _grouped(keys: Iterable[Key], by: Callable[[Key], T]) -> dict[T, list[Key]]:
    groups: dict[T, list[Key]] = defaultdict(list)
    for key in keys:
        groups[by(key)].append(key)
    return groups
