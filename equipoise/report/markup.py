"""HTML from values. Every text that comes in is escaped; only what these functions return is markup."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

POLICY = "default-src 'none'; img-src data:; media-src file: 'self'; style-src 'unsafe-inline'"
"""Nothing is run, and nothing is loaded but a film from beside the page, whatever a name in a run may say."""


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


def picture(png: bytes, alternative: str, caption: str, kind: str, narrow: bytes | None = None) -> Markup:
    """A PNG within the page; `narrow` is the one for narrow screens, as told in the stylesheet."""
    image = f'<img src="{_inline(png)}" alt="{text(alternative)}">'
    if narrow:
        # Paper has a width, too: only what is narrow and a screen gets the narrow one.
        image = f'<picture><source media="screen and (max-width: 38rem)" srcset="{_inline(narrow)}">{image}</picture>'
    return Markup(f'<figure class="{text(kind)}">\n{image}\n<figcaption>{text(caption)}</figcaption>\n</figure>')


def film(path: str, poster: bytes | None, alternative: str, caption: Markup) -> Markup:
    """A film that lies beside the page, at a relative path; its poster, a PNG, is within the page."""
    shown = f' poster="{_inline(poster)}"' if poster else ""
    return Markup(
        f'<figure class="film">\n<video controls preload="none" playsinline src="{text(path)}"\n'
        f'{shown} aria-label="{text(alternative)}"></video>\n'
        f"<figcaption>{caption}</figcaption>\n</figure>"
    )


def link(path: str) -> Markup:
    """A file beside the page, by its path."""
    return Markup(f'<a href="{text(path)}">{text(path)}</a>')


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


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
