"""HTML from values. Every text that comes in is escaped; only what these functions return is markup."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Nothing is loaded and nothing is run, whatever a name in a run may say."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """A value as HTML: escaped, unless it is markup."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def together(parts: Iterable[Markup | None]) -> Markup:
    """Markup in a row; None is left out."""
    return Markup("\n".join(part for part in parts if part))


def section(heading: str, *content: Markup | None) -> Markup:
    """A part of the page under a heading; nothing if there is nothing in it."""
    inner = together(content)
    return Markup(f"<section>\n<h2>{text(heading)}</h2>\n{inner}\n</section>") if inner else Markup()


def paragraph(value: object, kind: str = "") -> Markup:
    """A paragraph, of a class if wanted."""
    return Markup(f'<p class="{text(kind)}">{text(value)}</p>' if kind else f"<p>{text(value)}</p>")


def numbers(pairs: Sequence[tuple[str, object]]) -> Markup:
    """Names and values as tiles."""
    tiles = "\n".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    return Markup(f'<dl class="numbers">\n{tiles}\n</dl>')


def rows(headings: Sequence[str], lines: Iterable[Sequence[object]]) -> Markup:
    """A table; the first cell of a line names it. Each cell carries its heading, for narrow screens."""
    head = "".join(f'<th scope="col">{text(heading)}</th>' for heading in headings)
    body = "\n".join(
        "<tr>"
        + f'<th scope="row">{text(line[0])}</th>'
        + "".join(
            f'<td data-heading="{text(heading)}">{text(cell)}</td>'
            for heading, cell in zip(headings[1:], line[1:], strict=True)
        )
        + "</tr>"
        for line in lines
    )
    return Markup(f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>")


def code(value: str, label: str) -> Markup:
    """Text to be copied as it is, which can be scrolled by keyboard too."""
    return Markup(f'<pre tabindex="0" aria-label="{text(label)}"><code>{text(value)}</code></pre>')


def folded(summary: str, content: Markup) -> Markup:
    """Content that opens when asked for."""
    return Markup(f"<details>\n<summary>{text(summary)}</summary>\n{content}\n</details>")


def picture(png: bytes, alternative: str, caption: str, kind: str) -> Markup:
    """A PNG within the page."""
    source = base64.b64encode(png).decode("ascii")
    image = f'<img src="data:image/png;base64,{source}" alt="{text(alternative)}">'
    scroll = f'<div class="scroll" tabindex="0" role="group" aria-label="{text(caption)}">{image}</div>'
    return Markup(
        f'<figure class="{text(kind)}">\n{scroll if kind == "progress" else image}\n'
        f"<figcaption>{text(caption)}</figcaption>\n</figure>"
    )


def document(title: str, style: str, body: Markup) -> str:
    """A whole page."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{text(title)}</title>
<style>
{style}
</style>
</head>
<body>
{body}
</body>
</html>
"""
