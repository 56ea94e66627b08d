"""Rebuild the generated parts of docs/: tables of knobs, signals, options, data, events, settings, commands.

    python scripts/build_reference.py            write them
    python scripts/build_reference.py --check    exit with 1 if a page is stale; write nothing

A generated part stands between `<!-- generated: NAME ARGUMENT -->` and `<!-- end -->`. Everything in it comes from the
code: ranges, dataclass fields, docstrings, the parsers of the command line.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import _reference_data as data
import _reference_models as gans
import _reference_knobs as knobs
import _reference_program as program

DOCS = Path(__file__).parents[1] / "docs"
PART = re.compile(r"(<!-- generated: (\S+)(?: (\S+))? -->\n).*?(<!-- end -->)", re.DOTALL)
MAKERS: Sequence[Callable[[str], str]] = (
    *(data.data, data.about, data.fields, gans.options, gans.presets, gans.acting, knobs.knobs, knobs.knob),
    *(program.plugs, program.signals, program.symptoms, program.settings, program.commands, program.log),
    *(program.shapes, program.controller),
)
PARTS: Mapping[str, Callable[[str], str]] = {part.__name__: part for part in MAKERS}


def renewed(text: str) -> str:
    """A page with every generated part made anew."""
    return PART.sub(lambda result: f"{result[1]}\n{PARTS[result[2]](result[3] or '')}\n{result[4]}", text)


def main(words: Sequence[str]) -> int:
    stale = []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text()
        if (new := renewed(text)) != text:
            stale.append(page.relative_to(DOCS.parent))
            if "--check" not in words:
                page.write_text(new)
    print("\n".join(f"{'stale' if '--check' in words else 'written'}: {page}" for page in stale) or "all fresh")
    return int("--check" in words and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
