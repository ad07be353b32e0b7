"""Templates into pages. Imported with the first page that somebody asks for."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from registry.domain.times import rfc3339
from registry.pages.words import told_age, told_count
from registry.values import rounded_size


def render(template: str, values: dict[str, Any]) -> bytes:
    """Whatever the values hold is shown as text: nothing is marked safe, here or in a template."""
    return _environment().get_template(template).render(values).encode()


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(size=rounded_size, age=told_age, count=told_count, rfc3339=rfc3339)
    return made
