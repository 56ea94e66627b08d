"""How long do the film and the page of a run of 10,000 steps take, and how large is the film?

    python benchmarks/report.py             about 3 minutes; a restart continues
    python benchmarks/report.py --table     rewrite report.md from results/report.jsonl

Method. Two run folders are written with `Log`, as by a run; their content is synthetic, since nothing is trained:

- `usual`: like `equipoise train digits --steps 10000`. 100 + 198 readings, two learning rates changed at each,
  100 grids of 80 digits of 32 x 32 pixels, 10 metrics.
- `full`: a reading, and changes of three knobs, after each step; occasional findings; 400 grids of 64 colour images
  of 64 x 64 pixels, 100 metrics.

The samples are the digits of the package with decreasing noise; in `full` some noise remains until the end, which is
hard to encode. A new process then makes figure and page, and another one the film, three times each; imports are
included. Processor time is that of the process and of ffmpeg together: on a busy machine it is more meaningful than
wall-clock time.

Expected: film and page together within 60 seconds, the film within 20 MB and within 30 seconds of length.
"""

import functools
import json
import math
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from _results import Item, Result, Results, create_parser, format_range, run_in_subprocess, table, write

from equipoise import data
from equipoise.core.events import Evaluated, Event, Finished, Sampled, Sensed, Started, Turned
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Finding, Health, ScalarStats, Signals
from equipoise.runs.folders import create_run
from equipoise.runs.log import Log
from equipoise.runs.run import Run

STEPS, BATCH = 10_000, 64
DIGITS = Path(data.__file__).parent / "digits.npz"


def write_run(folder: Path, kind: str) -> None:
    """Write a run folder with everything that film and page need."""
    model, data_set = {"name": "dcgan", "options": {}}, {"name": "digits", "options": {}}
    create_run(
        folder, {"model": model, "data": data_set, "controller": "annealed", "steps": STEPS, "batch_size": BATCH}
    )
    with Log(folder) as log:
        for event in events(kind):
            log.record(event)


def events(kind: str) -> Iterator[Event]:
    """Yield the events of a run."""
    rng = np.random.default_rng(0)
    full = kind == "full"
    networks = {"generator": 289_825, "discriminator": 187_105}
    yield Started(0, 0, STEPS, BATCH, "fp32", networks, AdversarialKnobs().values())
    yield sampled(0, full, rng)
    values = {"lr_g": 2e-3, "lr_d": 2e-3} | ({"augment_p": 0.0} if full else {})
    for step in range(1, STEPS + 1):
        if full or step <= 100 or step % 50 == 0:
            yield sensed(step, full, rng)
            for knob, before in values.items():
                share = step / STEPS
                after = 0.5 * share if knob == "augment_p" else 2e-3 * (0.51 + 0.49 * math.cos(math.pi * share))
                yield Turned(step, step * BATCH, knob, before, after, "annealed", f"at {share:.0%} of the run")
                values[knob] = after
        if step % (25 if full else 100) == 0:
            yield sampled(step, full, rng)
        if step % (100 if full else 1000) == 0:
            yield Evaluated(step, step * BATCH, "kd_digits", 3 / step + 0.004, "lower", 1000, 0.3)
    yield Finished(STEPS, STEPS * BATCH, "steps", "healthy", STEPS * 0.14)


def sensed(step: int, full: bool, rng: np.random.Generator) -> Sensed:
    """Return a reading of losses, ranks, probabilities and gradients with random variation."""
    d, g, rank = 1.3 + 0.1 * rng.normal(), 0.9 + 0.1 * rng.normal(), 0.4 + 0.1 * rng.normal()
    loss = {
        "discriminator.total": ScalarStats(d, d - 0.2, d + 0.3, d),
        "generator.total": ScalarStats(g, g - 0.2, g + 0.3, g),
    }
    rank_held_out = float(step / STEPS / 4) if step % 50 == 0 else None
    signals = Signals(rank, rank_held_out, 0.2, 0.53, 0.47, g, d, 0.6 * g, 0.7 * d, 0.7 * d / (0.6 * g), 1e-3, 1e-3)
    is_unhealthy = full and step % 1000 > 900
    result = (
        (Finding("discriminator_overpowering", 0.6, {"rank_train_fake": rank}, since=step),) if is_unhealthy else ()
    )
    return Sensed(step, step * BATCH, step / STEPS, step * 0.14, loss, signals, Health(result))


def sampled(step: int, full: bool, rng: np.random.Generator) -> Sampled:
    """Return digits with noise that decreases during the run."""
    share = 1 - math.exp(-6 * step / STEPS)
    share = 0.8 * share if full else share
    with np.load(DIGITS, allow_pickle=False) as file:
        digits = file["images"][: 64 if full else 80].astype(np.float32)
    digits = digits.reshape(len(digits), 1, 28, 28) / 127.5 - 1
    digits = np.pad(digits, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=-1)
    if full:
        digits = digits.repeat(2, axis=2).repeat(2, axis=3).repeat(3, axis=1)
    noise = rng.uniform(-1, 1, digits.shape).astype(np.float32)
    return Sampled(step, step * BATCH, share * digits + (1 - share) * noise, None if full else 10)


@functools.cache
def reals(full: bool) -> npt.NDArray[np.float32]:
    """Return digits, (80, 1, 32, 32) or in colour and larger, (64, 3, 64, 64), in [-1, 1]."""
    with np.load(DIGITS, allow_pickle=False) as file:
        digits = file["images"][:: 63 if full else 62][: 64 if full else 80, None].astype(np.float32) / 127.5 - 1
    digits = np.pad(digits, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=-1)
    return digits.repeat(2, axis=2).repeat(2, axis=3).repeat(3, axis=1) if full else digits


def measure(item: Item) -> Result:
    """Measure wall-clock time, processor time and megabytes of the page or the film of a run folder."""
    start_time, before = time.perf_counter(), _processor()
    run = Run(Path(item["folder"]))
    if item["made"] == "film":
        from equipoise.report import film

        path = film.write_film(run)
        assert path is not None
    else:
        from equipoise.report import page

        path = page.write_report(run)
    return {
        "seconds": time.perf_counter() - start_time,
        "processor": _processor() - before,
        "megabytes": path.stat().st_size / 1e6,
    }


def _processor() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def measure_repeatedly(item: Item) -> Result:
    """Run all repeats of both in new processes, on a run folder written for them."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / f"ten-thousand-{item['kind']}"
        write_run(run, item["kind"])
        return {
            output: [
                run_in_subprocess(__file__, {"made": output, "folder": str(run)}, 1) for _ in range(item["repeats"])
            ]
            for output in ("page", "film")
        }


def row(item: Item, result: Result) -> list[str]:
    """Return a row of the table."""
    parts = [[one[what] for one in result[output]] for what in ("seconds", "processor") for output in ("page", "film")]
    both = [page + film for page, film in zip(parts[0], parts[1], strict=True)]
    sizes = [f"{result[output][0]['megabytes']:.1f}" for output in ("page", "film")]
    return [f"`{item['kind']}`", *(format_range(part, ".1f") for part in (*parts[:2], both, *parts[2:])), *sizes]


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="processes per output")
    args = parser.parse_args()
    if args.item:
        print(json.dumps(measure(args.item)))
        return
    items: list[Item] = [{"kind": kind, "repeats": args.repeats} for kind in ("usual", "full")]
    results = Results(args.out / "results" / "report.jsonl")
    if not args.table:
        results.measure(items, measure_repeatedly)
    heads = ("run", "page, s", "film, s", "both, s", "page, processor s", "film, processor s", "page, MB", "film, MB")
    write(
        args.out / "report.md",
        "# Time to make the film and the page of 10,000 steps",
        f"{results.provenance(items)} Median [minimum, maximum] of {args.repeats} processes each; limits: 60 s "
        "and 20 MB.",
        table(heads, [row(item, result) for item in items if (result := results.result(item))]),
    )


if __name__ == "__main__":
    main()
