"""Rebuild the generated parts of docs/: commands, settings, knobs, signals, symptoms, plugs, events, Python API.

    python scripts/build_reference.py            write them
    python scripts/build_reference.py --check    exit with 1 if a page is out of date; write nothing

A generated part is enclosed in `<!-- generated: NAME ARGUMENT -->` and `<!-- end -->`. Everything in it comes from the
code: ranges, dataclass fields, docstrings, and the parsers of the command line.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import _reference_api as api
import _reference_data as data
import _reference_knobs as knobs
import _reference_models as models
import _reference_program as program
import _reference_symptoms as diagnosis

DOCS = Path(__file__).parents[1] / "docs"
PART = re.compile(r"(<!-- generated: (\S+)(?: (\S+))? -->\n).*?(<!-- end -->)", re.DOTALL)
FUNCTIONS: Sequence[Callable[[str], str]] = (
    *(data.data, data.about, data.fields, models.options, models.presets, models.acting, knobs.knobs, knobs.knob),
    *(program.plugs, program.signals, program.settings, program.commands, program.log),
    *(program.shapes, program.controller, api.api, diagnosis.symptoms, diagnosis.loop_changes),
    *(diagnosis.log_formats, diagnosis.column_names),
)
PARTS: Mapping[str, Callable[[str], str]] = {function.__name__: function for function in FUNCTIONS}


def rebuild(text: str) -> str:
    """Return a page with every generated part rebuilt."""
    return PART.sub(lambda match: f"{match[1]}\n{PARTS[match[2]](match[3] or '')}\n{match[4]}", text)


def main(args: Sequence[str]) -> int:
    is_check = "--check" in args
    stale = []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text()
        if (rebuilt := rebuild(text)) != text:
            stale.append(page.relative_to(DOCS.parent))
            if not is_check:
                page.write_text(rebuilt)
    print("\n".join(f"{'out of date' if is_check else 'written'}: {page}" for page in stale) or "all up to date")
    return int(is_check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
