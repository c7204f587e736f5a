"""Draws a workflow from its definition, with the path of each image of an execution."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Pixels
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 190, 34, 18, 30
_ASIDE = (_WIDTH // 2 + _GAP_X) * 4 // 3  # offset of control points; a curve covers three quarters of it


@dataclass(frozen=True)
class Node:
    """A state: its position in the graph, and how often the execution entered it."""

    name: str
    kind: str
    x: int
    y: int
    entered: int
    ends_badly: bool

    width: int = _WIDTH
    height: int = _HEIGHT

    @property
    def middle(self) -> int:
        return self.x + self.width // 2


@dataclass(frozen=True)
class Edge:
    """A transition from a state to one that may follow."""

    start: Node
    end: Node

    @property
    def is_taken(self) -> bool:
        """Whether the execution took the transition, judging by the states that it entered."""
        return bool(self.start.entered and self.end.entered)

    @property
    def path(self) -> str:
        """The SVG path from the lower side of one state to the upper side of the other, around those in between."""
        x1, y1, x2, y2 = self.start.middle, self.start.y + self.start.height, self.end.middle, self.end.y
        aside, bend = _ASIDE if y2 - y1 > _GAP_Y else 0, _GAP_Y // 2
        return f"M{x1} {y1}C{x1 + aside} {y1 + bend} {x2 + aside} {y2 - bend} {x2} {y2}"


@dataclass(frozen=True)
class Graph:
    """One level of a state machine, top to bottom. title: the state machine, or the Map or branch of this level."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: int
    height: int


@dataclass(frozen=True)
class History:
    """The states that an execution entered: how often, and in which order for each image."""

    entered: Mapping[str, int]
    paths: Mapping[int, tuple[str, ...]]  # by the index of the Map's iteration

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> "History":
        """events: from GetExecutionHistory, oldest first. An iteration's events refer back to its start."""
        entered: Counter[str] = Counter()
        paths: defaultdict[int, list[str]] = defaultdict(list)
        iterations: dict[int, int] = {}  # by the id of an event within the iteration
        for event in events:
            if started := event.get("mapIterationStartedEventDetails"):
                iterations[event["id"]] = started["index"]
                paths[started["index"]] = []
            elif not event["type"].startswith("MapState"):  # these follow the last iteration, but belong to none
                index = iterations.get(event.get("previousEventId", 0))
                if index is not None:
                    iterations[event["id"]] = index
                if details := event.get("stateEnteredEventDetails"):
                    entered[details["name"]] += 1
                    if index is not None:
                        paths[index].append(details["name"])
            elif details := event.get("stateEnteredEventDetails"):
                entered[details["name"]] += 1
        return cls(entered, {index: tuple(path) for index, path in paths.items()})


def graphs(title: str, machine: Mapping[str, Any], history: History) -> Iterator[Graph]:
    """The graphs of the state machine, or of a Map's processor, and of all levels within it.

    Without Distributed Maps, whose events are in the histories of their child executions.
    """
    states: Mapping[str, Any] = machine["States"]
    yield _drawn(title, machine["StartAt"], states, history)
    for name, state in states.items():
        inner = [state[key] for key in ("ItemProcessor", "Iterator") if key in state] + state.get("Branches", [])
        if state.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED":
            continue
        for number, processor in enumerate(inner, start=1):
            yield from graphs(f"{name}, branch {number}" if len(inner) > 1 else name, processor, history)


def _drawn(title: str, start: str, states: Mapping[str, Any], history: History) -> Graph:
    """Rows of the states: each is one below the lowest state that leads to it."""
    rows: dict[str, int] = {}

    def place(name: str, row: int, above: frozenset[str]) -> None:
        if name in above or rows.get(name, -1) >= row:  # a loop, or already low enough
            return
        rows[name] = row
        for follower in followers(states[name]):
            place(follower, row + 1, above | {name})

    place(start, 0, frozenset())
    by_row: defaultdict[int, list[str]] = defaultdict(list)
    for name, row in rows.items():
        by_row[row].append(name)
    columns = max(map(len, by_row.values()))
    width = columns * (_WIDTH + _GAP_X) - _GAP_X
    nodes = {}
    for row, names in by_row.items():
        left = (width - len(names) * (_WIDTH + _GAP_X) + _GAP_X) // 2
        for column, name in enumerate(names):
            kind = states[name]["Type"]
            nodes[name] = Node(
                name,
                kind,
                x=left + column * (_WIDTH + _GAP_X),
                y=row * (_HEIGHT + _GAP_Y),
                entered=history.entered.get(name, 0),
                ends_badly=kind == "Fail" or name in {"Rejected", "Failed"},
            )
    edges = [Edge(node, nodes[name]) for node in nodes.values() for name in followers(states[node.name])]
    return Graph(title, tuple(nodes.values()), tuple(edges), width, len(by_row) * (_HEIGHT + _GAP_Y) - _GAP_Y)


def followers(state: Mapping[str, Any]) -> list[str]:
    """Names of the possible next states, without duplicates, the usual one first."""
    choices = [*state.get("Choices", []), *state.get("Catch", [])]
    names = [state.get("Next"), state.get("Default"), *(choice["Next"] for choice in choices)]
    return list(dict.fromkeys(name for name in names if name))
