"""Jinja2 templates: text files with places for values, each beside the module that fills it."""

from pathlib import Path
from typing import Any


def render(template: Path, **values: Any) -> str:
    """Fill a template; a missing value is an error, and values in HTML are escaped unless they are marked safe."""
    # imported late, since most processes that can render a page never do
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=template.name.endswith(".html.jinja"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    return environment.get_template(template.name).render(values)
