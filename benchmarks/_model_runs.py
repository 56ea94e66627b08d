"""Run a benchmark with one result per model; shared by the benchmarks of resumed runs."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from _results import Item, Result, Results, create_parser

from equipoise.core import catalog

Measure = Callable[[Item, Path], Result]
"""Function from a model's item and an empty folder to its result. Raises RuntimeError, with the model, if it fails."""


def measure_models(
    description: str | None, name: str, measure: Measure, write_table: Callable[[Results, list[Item], Path], None]
) -> None:
    """Parse the command line, measure every model without a result in results/NAME.jsonl, and write the table.

    A model that fails is printed, and tried again the next time.
    """
    parser = create_parser(description)
    parser.add_argument("--models", nargs="+", default=catalog.names("models"), help="default: all")
    args = parser.parse_args()
    torch.set_num_threads(1)
    items: list[Item] = [{"model": model} for model in args.models]
    results = Results(args.out / "results" / f"{name}.jsonl")
    for item in [] if args.table else items:
        if results.result(item) is None:
            with tempfile.TemporaryDirectory(prefix="equipoise-resume-") as folder:
                try:
                    results.append(item, measure(item, Path(folder)))
                    print(f"{item['model']}: done", flush=True)
                except RuntimeError as error:
                    print(error, flush=True)
    write_table(results, items, args.out)
