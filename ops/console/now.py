"""The pages Now, with the environment's activity and health, and Execution, with the path of each image."""

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lambda_src.shared.json_reader import parse_json
from ops import aws
from ops.console import health
from ops.console.activity import MAX_EXECUTIONS, OUTCOMES, Activity, read_outcomes
from ops.console.graph import Graph, History, graphs
from ops.console.parts import Part, part
from ops.console.site import Site, site
from ops.console.views import page

T = TypeVar("T")

# The statuses of ended executions, the usual ones first:
# https://docs.aws.amazon.com/step-functions/latest/apireference/
STATUSES = ("RUNNING", "SUCCEEDED", "REJECTED", "FAILED", "TIMED_OUT", "ABORTED")


def now(request: Request) -> Response:
    return page(request, "now.html", **_parts(site(request), request.app.state.activity))


def refreshed(request: Request) -> Response:
    return page(request, "now_parts.html", **_parts(site(request), request.app.state.activity))


def _parts(shown: Site, activity: Activity) -> dict[str, Any]:
    """Everything that the page shows, read concurrently."""
    config, bucket = shown.config, shown.bucket
    with ThreadPoolExecutor() as pool:

        def reading(read: Callable[[], T], on: str) -> Callable[[], Part[T]]:
            return pool.submit(part, read, on=on).result

        found = {
            "recent": reading(activity.recent, f"the executions of {config.stage_name}"),
            "endpoint": reading(lambda: health.endpoint(config, bucket), f"endpoint {config.endpoint_name}"),
            "model": reading(lambda: health.model(config, bucket), f"bucket {bucket}"),
            "alarms": reading(lambda: health.alarms(config), f"the alarms of {config.stage_name}"),
            "drift": reading(lambda: health.drift(bucket), f"bucket {bucket}"),
        }
        parts = {name: result() for name, result in found.items()}
    return {
        **parts,
        "time": datetime.now(UTC),
        "statuses": STATUSES,
        "outcomes": OUTCOMES,
        "max_executions": MAX_EXECUTIONS,
        "runbook": _runbook(config.monitoring.runbook_url),
    }


def _runbook(url: str) -> str:
    """Where the alarms' sections are: the environment's `runbook_url`, if a browser can open it."""
    return url if url.startswith(("https://", "http://")) else "/runbook"


def execution(request: Request) -> Response:
    """One execution, by its name and that of its workflow."""
    shown = site(request)
    workflow, name = request.path_params["workflow"], request.path_params["name"]
    if workflow not in {machine.rpartition(":")[2] for machine in shown.workflows}:
        raise HTTPException(404, f"{workflow} is no workflow that classifies images.")
    here = shown.state_machine_arn.replace(":stateMachine:", ":execution:").rpartition(":")[0]
    arn = f"{here}:{workflow}:{name}"
    client = aws.stepfunctions()
    with ThreadPoolExecutor() as pool:
        described = pool.submit(part, lambda: client.describe_execution(executionArn=arn), on=arn)
        drawn = pool.submit(part, lambda: _drawn(arn), on=arn)
        key = f"s3://{shown.bucket}/manifests/{name}.json"
        outcomes = pool.submit(part, lambda: read_outcomes(shown.bucket, name), on=key)
    if isinstance(described.result().error, client.exceptions.ExecutionDoesNotExist):
        raise HTTPException(404, f"There is no execution {name}, or it ended more than 90 days ago.")
    return page(
        request,
        "execution.html",
        name=name,
        described=described.result(),
        drawn=drawn.result(),
        outcomes=outcomes.result(),
        names=OUTCOMES,
    )


def _drawn(arn: str) -> tuple[list[Graph], Mapping[int, tuple[str, ...]]]:
    """The graphs of the executed definition, and the states of each image by its index."""
    client = aws.stepfunctions()
    # Without data: the inputs of 500 images are 100 MB. The child executions of a bulk run have their own histories
    pages = client.get_paginator("get_execution_history").paginate(executionArn=arn, includeExecutionData=False)
    history = History.of(event for found in pages for event in found["events"])
    definition = parse_json(client.describe_state_machine_for_execution(executionArn=arn)["definition"])
    return list(graphs("The workflow", definition, history)), history.paths


def _without_relative_links(html: str) -> str:
    """Remove relative links, whose targets exist only in the repository."""
    return re.sub(r'<a href="(?!https?://|#)[^"]*">(.*?)</a>', r"\1", html)


def runbook(request: Request) -> Response:
    """docs/runbook.md as a page. Its sections have the names of the alarms."""
    introduction, *sections = health.runbook().split("\n## ")
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    rendered = [
        # The project's own file, which contains no HTML
        (name, Markup(_without_relative_links(markdown.render(text))))  # noqa: S704
        for name, _, text in (section.partition("\n") for section in sections)
    ]
    text = Markup(_without_relative_links(markdown.render(introduction.partition("\n")[2])))  # noqa: S704
    return page(request, "runbook.html", introduction=text, sections=rendered)


ROUTES = [
    Route("/", now),
    Route("/now/parts", refreshed),
    Route("/executions/{workflow}/{name}", execution),
    Route("/runbook", runbook),
]
