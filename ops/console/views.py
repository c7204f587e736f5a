"""Renders the pages as HTML."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from data_prep.terminal import confidence_text, visible
from ops.console.site import site

PAGES = {
    "/": "Now",
    "/classify": "Classify",
    "/review": "Review",
    "/models": "Models",
}  # in the order of the navigation

_FOLDER = Path(__file__).parent


def _when(moment: datetime) -> Markup:
    """A time element, in UTC."""
    shown = moment.astimezone(UTC)
    return Markup('<time datetime="{}">{:%Y-%m-%d %H:%M:%S}</time>').format(shown.isoformat(), shown)


# Untrusted text, such as keys, is escaped, with control and bidirectional characters as codes
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"visible": visible, "confidence": confidence_text, "when": _when}


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """The rendered template as a response. Every template also gets `site`, `pages`, `path` and `form_token`."""
    content = _ENVIRONMENT.get_template(template).render(
        site=site(request),
        pages=PAGES,
        path=request.url.path,
        form_token=request.app.state.session.form_token,
        **values,
    )
    return HTMLResponse(content, status)
