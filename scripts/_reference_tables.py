"""Markdown tables, and the parts of `equipoise.core.plug_options` that several pages use."""

from collections.abc import Iterable, Sequence

from equipoise.core.plug_options import field_docstrings, format_default, format_type

__all__ = ["field_docstrings", "format_default", "format_type", "markdown_table"]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format rows as a Markdown table. Vertical bars in cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)
