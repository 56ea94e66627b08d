"""Settings that suit a folder of pictures, by size, number of pictures and device: benchmarks/photographs.md."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from equipoise.core.data import Suggestion

EVIDENCE = "benchmarks/photographs.md"


class MeasuredSettings(NamedTuple):
    """Settings that beat `dcgan` with `learnable:suite` on a CPU.

    `sides`: smallest and largest side in pixels to which they apply. `model`, `batch_size`, `controller`, `steps`: as
    in an experiment.
    """

    sides: tuple[int, int]
    model: str
    batch_size: int
    controller: str
    steps: int


ON_CPU = (MeasuredSettings((48, 96), "dcgan:cpu64", 16, "annealed", 20_000),)
"""Measured with 100 to 500 pictures, once 3,389, of 64 pixels, in 1.5 to 5 minutes of one thread: see EVIDENCE.

More steps with fewer pictures each count most: 64 pixels leave one thread a few thousand of them in ten minutes. Other
sizes, and devices other than CPUs, have the former settings: nothing was measured there.
"""


def suggest_for_pictures(shape: Sequence[int], count: int, metric: str | None) -> Suggestion:
    """Return the settings for `count` pictures of `shape`, (C, H, W); a small folder is a single batch."""
    suggested = Suggestion("dcgan", 5000, min(64, count), metric, "learnable:suite")
    row = next((row for row in ON_CPU if row.sides[0] <= min(shape[1:]) and max(shape[1:]) <= row.sides[1]), None)
    if row is None:
        return suggested
    on_cpu = Suggestion(row.model, row.steps, min(row.batch_size, count), metric, row.controller)
    why = (
        f"{row.model}, batch size {on_cpu.batch_size}, controller {row.controller}: best for pictures of about this "
        f"size on a CPU ({EVIDENCE}); --model chooses another"
    )
    elsewhere = f"settings for pictures were measured on CPUs only ({EVIDENCE}); worth a try here: --model {row.model}"
    return dataclasses.replace(suggested, reason=elsewhere, on_cpu=dataclasses.replace(on_cpu, reason=why))
