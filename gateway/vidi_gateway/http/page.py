"""The page at `/`: a plain list of films and where they stand. No scripts, no other hosts."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vidi_gateway.handlers.films import Page
from vidi_gateway.http.schemas import Film

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _environment(folder: Path) -> Environment:
    from jinja2 import Environment, FileSystemLoader

    return Environment(loader=FileSystemLoader(folder), autoescape=True)


def render(page: Page, folder: Path) -> str:
    """Return the page as HTML."""
    films = [Film.of(record) for record in page.films]
    return _environment(folder).get_template("page.html").render(films=films, next_token=page.next_token)
