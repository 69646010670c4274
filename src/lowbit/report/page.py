"""The page: Jinja2 around the content, Plotly's library packed into it, everything in one file."""

from __future__ import annotations

import base64
import gzip
import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from lowbit.atomic import replacing, require_writable, write_text
from lowbit.errors import InvalidInput
from lowbit.report.content import size
from lowbit.report.diagnosis_figures import histograms
from lowbit.report.figures import figures

MAX_BYTES = 6_000_000


@cache
def packed_plotly() -> str:
    """plotly.js, gzipped and in base64: 1.9 MB in place of 4.8."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def _json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def render(content: dict[str, Any]) -> str:
    """The page as text.

    Args:
        content: as `lowbit.report.content` describes.
    """
    environment = Environment(
        loader=PackageLoader("lowbit.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = size
    environment.tests["startingwith"] = str.startswith
    environment.filters["thousands"] = lambda value: f"{value:,}"
    charts = figures(content)
    drawn = [chart for chart in charts if chart["figure"] is not None]
    templates = resources.files("lowbit.report") / "templates"
    return environment.get_template("page.html.j2").render(
        content=content,
        charts=charts,
        style=(templates / "page.css").read_text(encoding="utf-8"),
        script=(templates / "page.js").read_text(encoding="utf-8"),
        histograms=histograms(content["diagnosis"]) if content.get("diagnosis") else [],
        figures=_json({chart["id"]: chart["figure"] for chart in drawn}),
        plotly=packed_plotly() if drawn else "",
    )


def write_page(content: dict[str, Any], path: str | Path) -> None:
    """Write the page and, beside it, the content as JSON with the page's name.

    Args:
        content: as `lowbit.report.content` describes.
        path: of the page, ending in .html.

    Raises:
        InvalidInput: as `require_page`.
    """
    page = require_page(path)
    with replacing(page) as place:
        place.write_text(render(content), encoding="utf-8")
    write_text(page.with_suffix(".json"), json.dumps(content, indent=2) + "\n")


def require_page(path: str | Path) -> Path:
    """Fail before the measurements where the page or the JSON beside it could not be written after them.

    Raises:
        InvalidInput: the name does not end in .html, or the file cannot be written.

    Example:
        >>> require_page("report.html").name
        'report.html'
    """
    page = Path(path)
    if page.suffix.lower() not in (".html", ".htm") and not page.is_dir():
        raise InvalidInput(f"{page}: is no name of a page, whose numbers go beside it as .json; let it end in .html")
    require_writable(page)
    require_writable(page.with_suffix(".json"))
    return page
