"""The graph of a state machine. test_now.py has the graph of an execution."""

import re
from typing import Any

from ops.console.graph import Graph, History, graphs


def drawn(states: dict[str, Any]) -> list[Graph]:
    return list(graphs("The workflow", {"StartAt": next(iter(states)), "States": states}, History({}, {})))


def bezier(points: list[int], t: float) -> float:
    """One coordinate of a cubic curve, of which t has been gone."""
    a, b, c, d = points
    return a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3


def test_an_edge_passes_around_the_states_in_between() -> None:
    (graph,) = drawn(
        {
            "IsPrefix?": {"Type": "Choice", "Choices": [{"Next": "ListImages"}], "Default": "WithinLimits?"},
            "ListImages": {"Type": "Task", "Next": "WithinLimits?"},
            "WithinLimits?": {"Type": "Succeed"},
        }
    )
    (past,) = [edge for edge in graph.edges if (edge.start.name, edge.end.name) == ("IsPrefix?", "WithinLimits?")]
    (between,) = [node for node in graph.nodes if node.name == "ListImages"]
    numbers = [int(number) for number in re.findall(r"-?\d+", past.path)]
    beside = [
        bezier(numbers[::2], step / 50)
        for step in range(51)
        if between.y <= bezier(numbers[1::2], step / 50) <= between.y + between.height
    ]
    assert beside
    assert min(beside) > between.x + between.width


def test_states_of_a_distributed_maps_child_executions_are_not_drawn() -> None:
    processor = {"StartAt": "Classifier", "States": {"Classifier": {"Type": "Task", "End": True}}}
    inline = drawn({"Classify": {"Type": "Map", "ItemProcessor": processor, "End": True}})
    distributed = processor | {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}}
    alone = drawn({"Classify": {"Type": "Map", "ItemProcessor": distributed, "End": True}})
    assert [graph.title for graph in inline] == ["The workflow", "Classify"]
    assert [graph.title for graph in alone] == ["The workflow"]
