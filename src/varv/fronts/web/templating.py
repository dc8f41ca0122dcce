"""The templates and static files of this package, and what templates may call."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

import jinja2

from varv.fronts.web import words
from varv.fronts.web.distributions import bars, mean_kind, shown
from varv.fronts.web.plots import style_of
from varv.kernel import wording
from varv.serving.model import otherwise_in_words

FILTERS: tuple[Callable[..., Any], ...] = (
    *(wording.count, wording.number, wording.percent, wording.facts),
    *(words.when, words.month, words.span, words.segment, words.outcome),
    *(words.run_status, words.measure, words.clipped, words.size),
    otherwise_in_words,
)
"""What templates apply to values, by its own name."""
STATIC = {
    "varv.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "live.js": "text/javascript; charset=utf-8",
    "links.js": "text/javascript; charset=utf-8",
    "label.js": "text/javascript; charset=utf-8",
}
"""The static files, with their types."""


def environment() -> jinja2.Environment:
    """Return the templates' environment: everything is escaped, an unknown name is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(resources.files("varv.fronts.web") / "templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    given: dict[str, Any] = {
        "interval": words.interval,
        "status": words.Status,
        "style": style_of,
        "shown": shown,
        "mean_kind": mean_kind,
        "bars": bars,
    }
    made.filters.update({function.__name__: function for function in FILTERS})
    made.globals.update(given)
    return made


def asset(name: str) -> bytes:
    """Return a static file."""
    return (resources.files("varv.fronts.web") / "static" / name).read_bytes()


def source(name: str) -> bytes:
    """Return the source of a template."""
    return (resources.files("varv.fronts.web") / "templates" / name).read_bytes()
