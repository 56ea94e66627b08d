"""How long the film and the page of a run of 10,000 steps take, and how large the film is.

    python benchmarks/report.py             about 3 minutes; a restart goes on
    python benchmarks/report.py --table     rewrite report.md from results/report.jsonl

How. Two run folders are written through `runs.Log`, as a run writes them; what stands in them is made up, for nothing
is trained here:

- `usual`: what `equipoise train digits --steps 10000` leaves. 100 + 198 readings, two learning rates turned at each,
  100 sheets of 80 digits of 32 x 32 pixels, 10 metrics.
- `full`: a reading, and turns of three knobs, after each step; a finding every now and then; 400 sheets of 64 colour
  images of 64 x 64 pixels, 100 metrics.

The samples are the digits that come with the package, ever less buried in noise; in `full` some noise stays to the end,
which is hard on the film's coder. A fresh process then makes figure and page, and another one the film, three times
each; imports are part of it. Processor seconds are those of the process and of ffmpeg together: on a busy machine they
say more than the clock does.

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
from _results import Item, Result, Results, in_child, parser, spread, table, write

from equipoise.core.events import Evaluated, Event, Finished, Sampled, Sensed, Started, Turned
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Finding, Health, ScalarStats, Signals
from equipoise.runs.folders import create_run
from equipoise.runs.log import Log
from equipoise.runs.run import Run

STEPS, BATCH = 10_000, 64
DIGITS = Path(runs.__file__).parent / "data" / "digits.npz"


def written(folder: Path, kind: str) -> None:
    """A run folder with all that its film and page are made of."""
    model, data = {"name": "dcgan", "options": {}}, {"name": "digits", "options": {}}
    create_run(folder, {"gan": model, "data": data, "controller": "annealed", "steps": STEPS, "batch_size": BATCH})
    with Log(folder) as log:
        for event in events(kind):
            log.record(event)


def events(kind: str) -> Iterator[Event]:
    """The events of a run."""
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
    """A reading of losses, ranks, probabilities and gradients that wander."""
    d, g, rank = 1.3 + 0.1 * rng.normal(), 0.9 + 0.1 * rng.normal(), 0.4 + 0.1 * rng.normal()
    loss = {
        "discriminator.total": ScalarStats(d, d - 0.2, d + 0.3, d),
        "generator.total": ScalarStats(g, g - 0.2, g + 0.3, g),
    }
    held_out = float(step / STEPS / 4) if step % 50 == 0 else None
    signals = Signals(rank, held_out, 0.2, 0.53, 0.47, g, d, 0.6 * g, 0.7 * d, 0.7 * d / (0.6 * g), 1e-3, 1e-3)
    ails = full and step % 1000 > 900
    result = (Finding("discriminator_overpowering", 0.6, {"rank_train_fake": rank}, since=step),) if ails else ()
    return Sensed(step, step * BATCH, step / STEPS, step * 0.14, loss, signals, Health(result))


def sampled(step: int, full: bool, rng: np.random.Generator) -> Sampled:
    """Digits that come out of noise as the run goes on."""
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
    """Digits, (80, 1, 32, 32) or in colour and larger, (64, 3, 64, 64), in [-1, 1]."""
    with np.load(DIGITS, allow_pickle=False) as file:
        digits = file["images"][:: 63 if full else 62][: 64 if full else 80, None].astype(np.float32) / 127.5 - 1
    digits = np.pad(digits, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=-1)
    return digits.repeat(2, axis=2).repeat(2, axis=3).repeat(3, axis=1) if full else digits


def measure(item: Item) -> Result:
    """Seconds, seconds of the processor, and megabytes, of the page or the film of a run folder."""
    begun, before = time.perf_counter(), _processor()
    run = Run(Path(item["folder"]))
    if item["made"] == "film":
        from equipoise.report import film

        path = film.write_film(run)
        assert path is not None
    else:
        from equipoise.report import page

        path = page.write_report(run)
    return {
        "seconds": time.perf_counter() - begun,
        "processor": _processor() - before,
        "megabytes": path.stat().st_size / 1e6,
    }


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def repeated(item: Item) -> Result:
    """All repeats of both in fresh processes, of a run folder written for them."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / f"ten-thousand-{item['kind']}"
        written(run, item["kind"])
        return {
            made: [in_child(__file__, {"made": made, "folder": str(run)}, 1) for _ in range(item["repeats"])]
            for made in ("page", "film")
        }


def row(item: Item, result: Result) -> list[str]:
    """A line of the table."""
    parts = [[one[what] for one in result[made]] for what in ("seconds", "processor") for made in ("page", "film")]
    both = [page + film for page, film in zip(parts[0], parts[1], strict=True)]
    sizes = [f"{result[made][0]['megabytes']:.1f}" for made in ("page", "film")]
    return [f"`{item['kind']}`", *(spread(part, ".1f") for part in (*parts[:2], both, *parts[2:])), *sizes]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--repeats", type=int, default=3, help="processes for each")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item)))
        return
    items: list[Item] = [{"kind": kind, "repeats": asked.repeats} for kind in ("usual", "full")]
    results = Results(asked.out / "results" / "report.jsonl")
    if not asked.table:
        results.measure(items, repeated)
    heads = ("run", "page, s", "film, s", "both, s", "page, processor s", "film, processor s", "page, MB", "film, MB")
    write(
        asked.out / "report.md",
        "# Seconds until the film and the page of 10,000 steps are there",
        f"{results.head(items)} Median [minimum, maximum] of {asked.repeats} processes each; at most 60 s and 20 MB "
        "are wanted.",
        table(heads, [row(item, result) for item in items if (result := results.result(item))]),
    )


if __name__ == "__main__":
    main()
