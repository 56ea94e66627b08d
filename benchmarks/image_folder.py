"""Does training on a folder of 50,000 images ever wait for them, and how much memory does it need?

    python benchmarks/image_folder.py             about 8 minutes; only the result is kept
    python benchmarks/image_folder.py --table     rewrite image_folder.md from results/image_folder.jsonl

Method. 50,000 PNG files of 64 x 64 colour pixels (enlarged noise of 8 x 8 pixels) in a new folder. `dcgan` is trained
on them at 64 pixels three times, each time in a separate process: at the first start, which fills the cache; at a
second one; and at one after the pages of the cached array were dropped from memory (posix_fadvise). The time of a step
is from the request of its batch to its end, its wait until the batch is available. Then every batch of a whole epoch is
read, so that all pages of the array are used, and the peak of resident memory, mapped pages included, is read from the
kernel (VmHWM), less what was resident directly after `import torch`.

Expected: from step 2 on no step waits more than 2 % of its time; at most 1.5 GB.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _results import Item, Result, Results, create_parser, run_in_subprocess, table, write

STARTS = {
    "first": "first start, fills the cache",
    "second": "second start",
    "cold": "second start, cache not in memory",
}
SIDE, CELLS = 64, 8
BATCH, THREADS = 64, 1
SHARE, MEMORY = 0.02, 1.5e9
FRAMES = 256
"""Images of noise that are generated together."""


class Timed:
    """A stream that records when its last batch was requested, and how long that took."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.start_time, self.wait = stream, 0.0, 0.0

    def batch(self, index: int) -> Any:
        """Return batch number `index` of the stream."""
        self.start_time = time.perf_counter()
        batch = self.stream.batch(index)
        self.wait = time.perf_counter() - self.start_time
        return batch


def measure(item: Item) -> Result:
    """Measure the three starts on temporary files."""
    with tempfile.TemporaryDirectory() as root:
        start_time = time.perf_counter()
        draw(Path(root) / "images", item["files"])
        print(f"files written in {time.perf_counter() - start_time:.0f} s", flush=True)
        return {
            start: run_in_subprocess(__file__, {**item, "start": start, "place": root}, THREADS) for start in STARTS
        }


def draw(folder: Path, files: int) -> None:
    """Write this number of different PNG files."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(files):
        if number % FRAMES == 0:
            noise = generator.integers(0, 256, (FRAMES, CELLS, CELLS, 3), np.uint8)
        image = Image.fromarray(noise[number % FRAMES]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        image.save(folder / f"{number:06d}.png", compress_level=1)


def start(item: Item) -> Result:
    """Measure one start in this process: time until the data are ready, wait of each step, memory."""
    import torch  # noqa: F401

    before = memory("VmRSS")
    import dataclasses

    from equipoise.core.events import Stepped
    from equipoise.experiment.assembly import assemble
    from equipoise.experiment.completion import complete, prepare_data
    from equipoise.experiment.settings import Experiment, PlugSpec
    from equipoise.training.loop import train

    root = Path(item["place"])
    if item["start"] == "cold":
        drop_from_memory(root / "cache")
    data = PlugSpec("image_folder", {"folder": str(root / "images"), "cache": str(root / "cache"), "image_size": SIDE})
    experiment = Experiment(data=data, model=PlugSpec("dcgan"), steps=item["steps"], batch_size=BATCH, threads=THREADS)
    start_time = time.perf_counter()
    for _ in prepare_data(experiment):
        pass
    completed = complete(experiment)
    ready = time.perf_counter() - start_time
    training = assemble(completed, None)
    timed = Timed(training.streams.train)
    training.streams = dataclasses.replace(training.streams, train=timed)
    waits, steps = [], []
    for event in train(training):
        if isinstance(event, Stepped):
            steps.append(time.perf_counter() - timed.start_time)
            waits.append(timed.wait)
    for index in range(item["files"] // BATCH):
        timed.batch(index)
    return {"ready": ready, "waits": waits, "steps": steps, "memory": memory("VmHWM") - before}


def memory(name: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def drop_from_memory(cache: Path) -> None:
    """Ask the kernel to drop the pages of the cached array, so that it is read from disk again."""
    os.sync()
    for path in cache.glob("*/array.raw"):
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def row(name: str, files: int, result: Result) -> list[str]:
    shares = [wait / step for wait, step in zip(result["waits"], result["steps"], strict=True)][1:]
    exceeding = sum(share > SHARE for share in shares)
    return [
        STARTS[name],
        f"{result['ready']:.1f} s",
        f"{1e3 * statistics.median(result['steps']):.0f} ms",
        f"{1e3 * statistics.median(result['waits'][1:]):.2f} ms",
        f"{result['waits'][0] / result['steps'][0]:.2%}",
        f"{statistics.median(shares):.2%}",
        f"{sorted(shares)[int(0.99 * len(shares))]:.2%}",
        f"{max(shares):.2%}",
        f"{exceeding} of {len(shares)}",
        f"{result['memory'] / 1e9:.2f} GB",
    ]


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--files", type=int, default=50_000, help="images in the folder")
    parser.add_argument("--steps", type=int, default=60, help="steps of each start")
    args = parser.parse_args()
    if args.item:
        print(json.dumps(start(args.item)))
        return
    item = {"files": args.files, "steps": args.steps}
    results = Results(args.out / "results" / "image_folder.jsonl")
    if not args.table:
        results.measure([item], measure)
    if (result := results.result(item)) is None:
        sys.exit("there are no results yet; run without --table")
    columns = (
        "start",
        "data ready after",
        "step",
        "wait",
        "share, step 1",
        "share, median",
        "99th percentile",
        "maximum",
    )
    write(
        args.out / "image_folder.md",
        f"# Training on a folder of {args.files:,} images of {SIDE} x {SIDE} pixels",
        results.provenance([item]),
        f"`dcgan`, batch size {BATCH}, {args.steps} steps, {THREADS} thread. Shares: wait for the batch over the time "
        f"of the step, from step 2 on except for the first column; target at most {SHARE:.0%}. Memory: peak resident "
        "memory, mapped pages included, less that after `import torch`; target at most "
        f"{MEMORY / 1e9:.1f} GB.",
        table(
            (*columns, f"steps above {SHARE:.0%}", "memory"),
            [row(name, args.files, start) for name, start in result.items()],
        ),
    )


if __name__ == "__main__":
    main()
