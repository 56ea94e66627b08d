"""What does one training step of each preset cost: memory and seconds on one CPU core?

    python benchmarks/step_cost.py              10 minutes of one core; a restart continues
    python benchmarks/step_cost.py --table      rewrite step_cost.md from results/step_cost.jsonl

Method. Random images, with ten classes for default networks and where the paper has labels, one thread, fp32, the batch
size of the table; a process forked from this one per preset, so that the memory is that of the preset alone.

  weights      of generator and discriminator
  estimate     of memory, counted without computing anything: 16 bytes per weight (the weight, its gradient, two moments
               of Adam) and 4 more for the average of the generator. What the passes keep for each image comes on top.
  memory       growth of the resident memory of the process from before the networks are built to its peak, after a step
               with all lazy penalties
  step         CPU seconds per step: the mean of eight after the first, which contain every lazy penalty that is due at
               least every eighth step; the first step, with all penalties, if it takes more than 10 s. Growing networks
               are at their full size.

Presets whose step would take minutes here have an estimate only. Models of text and points are not in the table.
"""

import multiprocessing
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from _results import Item, Result, Results, create_parser, table, write
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSpec
from equipoise.core.model import Model
from equipoise.experiment.estimates import peak_memory
from equipoise.training.state import initial_state
from equipoise.training.step import run_step

CLASSES = 10
CONDITIONAL = ("sagan:", "biggan:")
"""Presets of papers whose networks have labels."""
BYTES_PER_WEIGHT, BYTES_OF_AVERAGE = 16, 4
STEPS, SLOW = 8, 10.0
"""Steps that are timed, and CPU seconds of a first step after which no further one is timed."""


@dataclass(frozen=True)
class Preset:
    """A preset at one size. `is_measured`: whether a step takes less than a few minutes here."""

    model: str
    size: int
    batch: int
    is_measured: bool = True

    @property
    def item(self) -> Item:
        """Return what identifies the measurement."""
        return {"model": self.model, "size": self.size, "batch": self.batch}


SMALL = (
    *("dcgan", "cgan", "acgan", "sngan", "sagan", "biggan", "progan", "stylegan", "stylegan2", "stylegan3"),
    *("stylegan3:rotation", "r3gan", "fastgan", "projected"),
)
"""Default networks, which suit CPUs."""
R3GAN_SIZES = (("imagenet32", 32), ("imagenet64", 64), ("ffhq256", 256))
LARGEST = (
    *("progan:paper", "stylegan:paper", "stylegan2:ffhq1024", "stylegan2:ffhq1024_e"),
    *("stylegan3:t1024", "stylegan3:r1024"),
)
PRESETS = (
    *(Preset(model, 32, 64) for model in SMALL),
    *(Preset(model, 64, 16) for model in SMALL),
    *(Preset("dcgan:lab32", 32, 64), Preset("dcgan:celeba64", 64, 64)),
    *(Preset(f"{model}:cifar10", 32, 8) for model in ("sagan", "biggan", "r3gan")),
    Preset("stylegan2:cifar", 32, 32),
    *(Preset("r3gan:ffhq64", 64, 4), Preset("fastgan:paper", 256, 8), Preset("projected:paper", 256, 4)),
    *(Preset(f"{model}:imagenet128", 128, 4) for model in ("sagan", "biggan")),
    *(Preset("biggan:deep", 128, 4), Preset("stylegan2:paper256", 256, 8, is_measured=False)),
    *(Preset(f"stylegan3:{name}", 256, 4, is_measured=False) for name in ("t256", "r256")),
    *(Preset(f"r3gan:{name}", size, 4, is_measured=False) for name, size in R3GAN_SIZES),
    *(Preset(model, 1024, 4, is_measured=False) for model in LARGEST),
)


@dataclass(frozen=True)
class RandomImages:
    """Batches of the same random images."""

    real: Tensor
    labels: Tensor | None

    def batch(self, index: int) -> Batch:
        """Return the batch."""
        return Batch(self.real, self.labels)


def build(preset: Preset) -> Model[Any]:
    """Build the model of a preset for colour images."""
    has_labels = ":" not in preset.model or preset.model.startswith(CONDITIONAL)
    spec = DataSpec((3, preset.size, preset.size), classes=CLASSES if has_labels else 0)
    return catalog.build("models", preset.model).build(spec, torch.Generator().manual_seed(0))  # type: ignore[no-any-return]


def count_weights(model: Model[Any]) -> dict[str, int]:
    """Return the number of weights of each network that is trained."""
    return {
        name: sum(weight.numel() for weight in network.parameters())
        for name, network in model.networks.items()
        if name not in model.frozen
    }


def measure_step(preset: Preset) -> dict[str, Any]:
    """Measure memory and CPU seconds of a step; the memory is right in a process of its own."""
    before, source = peak_memory(), torch.Generator().manual_seed(1)
    model = build(preset)
    real = torch.rand(preset.batch, 3, preset.size, preset.size, generator=source) * 2 - 1
    labels = torch.randint(CLASSES, (preset.batch,), generator=source) if model.num_classes else None
    stream = RandomImages(real, labels)
    state = initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(0))
    durations: list[float] = []
    for _ in range(1 + STEPS):
        start = time.process_time()
        run_step(state, stream, model.knobs, 1.0)
        durations.append(time.process_time() - start)
        if durations[0] > SLOW:
            break
    timed = durations[1:] or durations
    return {
        "weights": count_weights(model),
        "memory": peak_memory() - before,
        "step_seconds": sum(timed) / len(timed),
        "first_step_seconds": durations[0],
        "timed_steps": len(timed),
    }


def measure(preset: Preset) -> Result:
    """Measure a preset in a forked process, or count its weights."""
    if not preset.is_measured:
        with torch.device("meta"):
            return {"weights": count_weights(build(preset))}
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def send(connection: Connection) -> None:
        connection.send(measure_step(preset))

    process = context.Process(target=partial(send, sender))
    process.start()
    sender.close()
    try:
        result: Result = receiver.recv()
        return result
    except EOFError:
        raise SystemExit(f"{preset.item}: the process that measures a step has failed") from None
    finally:
        process.join()


def row(preset: Preset, result: Result) -> list[object]:
    """Return the table row of a preset."""
    counts = result["weights"]
    weights = " + ".join(f"{count / 1e6:,.3g}" for count in counts.values())
    fixed = BYTES_PER_WEIGHT * sum(counts.values()) + BYTES_OF_AVERAGE * counts["generator"]
    is_measured = "memory" in result
    return [
        f"`{preset.model}`",
        preset.size,
        preset.batch,
        weights,
        _format_bytes(fixed),
        _format_bytes(result["memory"]) if is_measured else "not measured",
        f"{result['step_seconds']:.3g}" if is_measured else "not measured",
    ]


def _format_bytes(count: float) -> str:
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"


def write_table(results: Results, out: Path) -> None:
    measured = [(preset, result) for preset in PRESETS if (result := results.result(preset.item))]
    columns: tuple[str, ...] = ("preset", "pixels a side", "batch", "weights, millions")
    columns += ("memory without images, estimate", "memory, measured", "CPU s per step")
    write(
        out / "step_cost.md",
        "# Memory and seconds of a training step",
        f"{results.provenance([preset.item for preset in PRESETS])} One thread, fp32. **Estimates are of weights, "
        "gradients and optimizers alone**, without what is kept for each image. Method: docstring of "
        "`benchmarks/step_cost.py`.",
        table(columns, [row(*each) for each in measured]),
    )


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--models", nargs="+", help="only these presets")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(args.out / "results" / "step_cost.jsonl")
    for preset in [] if args.table else sorted(PRESETS, key=lambda preset: preset.is_measured):
        if results.result(preset.item) is None and (args.models is None or preset.model in args.models):
            results.append(preset.item, measure(preset))
            print(f"{preset.model} at {preset.size}: done", flush=True)
    write_table(results, args.out)


if __name__ == "__main__":
    main()
