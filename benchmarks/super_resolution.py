"""Enlarging images: a run of upsampler against bilinear and bicubic interpolation, on held-out images.

    equipoise train openmoji --model upsampler --image-size 64 --steps 300 --batch-size 16 --out runs/upsampler
    python benchmarks/super_resolution.py runs/upsampler

Method. Inputs are means over squares of pixels of held-out images, as in training. Measured: `paired_l1` on [-1, 1];
the perceptual distance to the true image, `paired_efficientnet_lite0`; and `kd_efficientnet_lite0` between enlarged and
true images, which is below 0 for the true ones themselves. L1 rewards blur, the other two notice it. Prints a table and
writes super_resolution.png: input, bilinear, bicubic, the run, and the true image of the first held-out ones.

Expected: the run below bicubic interpolation by perceptual and by kernel distance.
"""

import argparse
from pathlib import Path

import torch
from _results import table
from torch import Tensor
from torch.nn.functional import interpolate

from equipoise.core import catalog
from equipoise.core.downscaling import with_downscaled_inputs
from equipoise.core.metric import ReferenceSet
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import build_data, build_recipe
from equipoise.inference.generator import load
from equipoise.runs.artifacts import encode_png, make_grid, write_bytes
from equipoise.runs.run import EXPERIMENT_FILE, Run
from equipoise.training.sample_layout import interleave_images

METRICS = ("paired_l1", "paired_efficientnet_lite0", "kd_efficientnet_lite0")
SHOWN = 12


def measure(samples: Tensor, real: Tensor, spec: object) -> list[str]:
    """Return the metrics of enlarged images (N, C, H, W) against the true ones, formatted."""
    metrics = [catalog.build("metrics", name) for name in METRICS]
    return [f"{metric.value(metric.statistics(ReferenceSet(real, spec=spec)), samples):.3f}" for metric in metrics]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    experiment = parse_experiment(Run(run).experiment(), str(run / EXPERIMENT_FILE))
    data = with_downscaled_inputs(build_data(experiment).resolve(), build_recipe(experiment))
    count = data.count("held_out")
    assert count is not None
    pairs = data.stream("held_out", count, 0).batch(0)
    sides, generator = pairs.real.shape[2:], load(run)
    arms = {
        "bilinear": interpolate(pairs.source, size=sides, mode="bilinear"),
        "bicubic": interpolate(pairs.source, size=sides, mode="bicubic").clamp(-1, 1),
        f"upsampler, {generator.step} steps": generator.translate(pairs.source),
    }
    rows = [(name, *measure(samples, pairs.real, data.spec)) for name, samples in arms.items()]
    print(table(("arm", "L1 ↓", "perceptual ↓", "kernel distance ↓"), rows))
    parts = [part[:SHOWN] for part in (pairs.source, *arms.values(), pairs.real)]
    picture = make_grid(interleave_images(parts).numpy(), columns=2 * len(parts))
    write_bytes(Path(__file__).with_suffix(".png"), encode_png(picture))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
