"""Rendering of HTML pages from jinja2 templates with autoescape: every value is text, never markup."""

import base64
import functools

import jinja2


def render(template: str, **values: object) -> str:
    """Render a template of the package, named by its path within it, such as "report/templates/run.html"."""
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("equipoise", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png_url"] = _png_url
    return environment


def _png_url(png: bytes) -> str:
    """Encode PNG bytes as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
