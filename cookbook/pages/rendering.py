"""Fills the templates."""

from functools import cache
from typing import TYPE_CHECKING, Any

from cookbook.pages import markup, mounted
from cookbook.pages.assets import assets_path

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """Return a page; a value that a template lacks is an error.

    Values are escaped in HTML alone.
    """
    return _templates().get_template(template).render(values)


@cache
def _templates() -> "Environment":
    # Imported with the first page: it does not delay the start.
    from jinja2 import (
        Environment,
        PackageLoader,
        StrictUndefined,
        select_autoescape,
    )

    templates = Environment(
        loader=PackageLoader("cookbook.pages"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Or each search would look on disk whether a template has changed.
        auto_reload=False,
    )
    templates.globals["static"] = assets_path()
    templates.filters["fenced"] = markup.fenced
    templates.filters["highlighted"] = markup.highlighted
    templates.filters["difference"] = markup.difference
    templates.filters["side"] = markup.side
    templates.filters["folded"] = markup.folded
    templates.filters["code"] = markup.code
    templates.filters["links_in"] = markup.links_in
    templates.filters["mounted_command"] = mounted.mounted_command
    templates.filters["mounted_output"] = mounted.mounted_output
    templates.filters["inline"] = markup.inline
    templates.filters["unlinked"] = markup.unlinked
    return templates
