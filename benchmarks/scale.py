"""What do several processes gain: for one run, and for many runs?

    python benchmarks/scale.py                       all sections; a restart continues
    python benchmarks/scale.py --sections processes  some of them
    python benchmarks/scale.py --table               rewrite scale.md from results/scale.jsonl

Each section is a module with `items`, `measure` and `section`. Ratios are of runs that were measured in turn on one
machine, which must be otherwise idle.
"""

import _scale_processes
import _scale_runs
from _results import Results, create_parser, write

SECTIONS = {"processes": _scale_processes, "runs": _scale_runs}
INTRODUCTION = (
    "Guides: [train with several devices](../docs/how-to/several-devices.md), "
    "[many runs on several machines](../docs/how-to/many-runs.md)."
)


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--sections", default=",".join(SECTIONS), help="which sections to measure")
    args = parser.parse_args()
    results = Results(args.out / "results" / "scale.jsonl")
    for name in [] if args.table else args.sections.split(","):
        results.measure(SECTIONS[name].items(), SECTIONS[name].measure)
    sections = [module.section(results) for module in SECTIONS.values()]
    write(args.out / "scale.md", "# Several processes, and several machines", INTRODUCTION, *sections)


if __name__ == "__main__":
    main()
