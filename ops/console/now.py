"""Now: what the environment does, and how it fares."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ops.console.views import page


def now(request: Request) -> Response:
    return page(request, "now.html")


ROUTES = [Route("/", now)]
