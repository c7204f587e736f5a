"""The console's routes and their middleware."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ops.console import classify, models, now, pictures, review
from ops.console.activity import Activity
from ops.console.security import Guard, Session
from ops.console.site import Site
from ops.review.desk import Desk

_FOLDER = Path(__file__).parent


def create_app(site: Site, session: Session) -> Starlette:
    """The application for one environment and one start of the console."""
    app = Starlette(
        routes=[
            *now.ROUTES,
            *classify.ROUTES,
            *review.ROUTES,
            *models.ROUTES,
            *pictures.ROUTES,
            Route("/page.css", _stylesheet),  # that of the reports
            Mount("/static", StaticFiles(directory=_FOLDER / "static")),
        ],
        middleware=[Middleware(Guard, session=session)],
    )
    app.state.site = site
    app.state.session = session
    app.state.activity = Activity(workflows=site.workflows, bucket=site.bucket)
    app.state.uploads = classify.Uploads()
    app.state.desk = Desk(site.bucket)
    return app


def _stylesheet(_request: Request) -> Response:
    return FileResponse(_FOLDER.parent / "page.css")
