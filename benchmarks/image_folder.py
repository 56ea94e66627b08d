"""Whether training on a folder of 50,000 images ever waits for them, and the memory that it takes.

    python benchmarks/image_folder.py             about 8 minutes; nothing is kept but the result
    python benchmarks/image_folder.py --table     rewrite image_folder.md from results/image_folder.jsonl

How. 50,000 PNG files of 64 x 64 colour pixels (noise of 8 x 8 pixels, enlarged) in a new folder. `dcgan` is trained on
them at 64 pixels three times, each time in a process of its own: at the first start, which fills the cache; at a second
one; and at one for which the pages of the cached array were given back to the disk before (posix_fadvise). A step's
time is that from asking for its batch to its end, its wait that until the batch was there. Then every batch of a whole
epoch is asked for, so that all pages of the array were touched, and the peak of resident memory, mapped pages counted,
is read from the kernel (VmHWM), less what was resident right after `import torch`.

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

from _results import Item, Result, Results, in_child, parser, table, write

STARTS = {
    "first": "first start: the cache is filled",
    "second": "second start",
    "cold": "second start, the cache not in memory",
}
SIDE, CELLS = 64, 8
BATCH, THREADS = 64, 1
SHARE, MEMORY = 0.02, 1.5e9
FRAMES = 256
"""Lines of noise that are drawn at once."""


class Timed:
    """A stream that remembers when its last batch was asked for, and how long it took."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.begun, self.waited = stream, 0.0, 0.0

    def batch(self, index: int) -> Any:
        """Batch number `index` of the stream."""
        self.begun = time.perf_counter()
        batch = self.stream.batch(index)
        self.waited = time.perf_counter() - self.begun
        return batch


def measure(item: Item) -> Result:
    """The three starts, on files that are gone afterwards."""
    with tempfile.TemporaryDirectory() as place:
        begun = time.perf_counter()
        draw(Path(place) / "images", item["files"])
        print(f"drawn in {time.perf_counter() - begun:.0f} s", flush=True)
        return {start: in_child(__file__, {**item, "start": start, "place": place}, THREADS) for start in STARTS}


def draw(folder: Path, files: int) -> None:
    """That many PNG files, each another."""
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
    """One start in this process: seconds until the data are ready, what each step waits, and the memory."""
    import torch  # noqa: F401

    before = memory("VmRSS")
    import dataclasses

    from equipoise.core.events import Stepped
    from equipoise.experiment import launch
    from equipoise.experiment.settings import Experiment, PlugSpec, complete, preparations
    from equipoise.training.loop import train

    place = Path(item["place"])
    if item["start"] == "cold":
        forget(place / "cache")
    data = PlugSpec(
        "image_folder", {"folder": str(place / "images"), "cache": str(place / "cache"), "image_size": SIDE}
    )
    asked = Experiment(data=data, model=PlugSpec("dcgan"), steps=item["steps"], batch_size=BATCH, threads=THREADS)
    begun = time.perf_counter()
    for _ in preparations(asked):
        pass
    completed = complete(asked)
    ready = time.perf_counter() - begun
    training = launch.assemble(completed, None)
    timed = Timed(training.streams.train)
    training.streams = dataclasses.replace(training.streams, train=timed)
    waits, steps = [], []
    for event in train(training):
        if isinstance(event, Stepped):
            steps.append(time.perf_counter() - timed.begun)
            waits.append(timed.waited)
    for index in range(item["files"] // BATCH):
        timed.batch(index)
    return {"ready": ready, "waits": waits, "steps": steps, "memory": memory("VmHWM") - before}


def memory(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def forget(cache: Path) -> None:
    """Ask the kernel to drop the pages of the cached array: it is read from the disk again."""
    os.sync()
    for path in cache.glob("*/array.raw"):
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def row(name: str, files: int, result: Result) -> list[str]:
    shares = [wait / step for wait, step in zip(result["waits"], result["steps"], strict=True)][1:]
    late = sum(share > SHARE for share in shares)
    return [
        STARTS[name],
        f"{result['ready']:.1f} s",
        f"{1e3 * statistics.median(result['steps']):.0f} ms",
        f"{1e3 * statistics.median(result['waits'][1:]):.2f} ms",
        f"{result['waits'][0] / result['steps'][0]:.2%}",
        f"{statistics.median(shares):.2%}",
        f"{sorted(shares)[int(0.99 * len(shares))]:.2%}",
        f"{max(shares):.2%}",
        f"{late} of {len(shares)}",
        f"{result['memory'] / 1e9:.2f} GB",
    ]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--files", type=int, default=50_000, help="images in the folder")
    made.add_argument("--steps", type=int, default=60, help="steps of each start")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(start(asked.item)))
        return
    item = {"files": asked.files, "steps": asked.steps}
    results = Results(asked.out / "results" / "image_folder.jsonl")
    if not asked.table:
        results.measure([item], measure)
    if (result := results.result(item)) is None:
        sys.exit("nothing measured yet; leave out --table")
    columns = ("start", "data ready after", "a step", "its wait", "share, step 1", "share, median", "99th", "largest")
    write(
        asked.out / "image_folder.md",
        f"# Training on a folder of {asked.files:,} images of {SIDE} x {SIDE} pixels",
        results.head([item]),
        f"`dcgan`, batches of {BATCH}, {asked.steps} steps, {THREADS} thread. The shares are those of a step's time "
        f"that it waits for its batch, but for the first from step 2 on; target at most {SHARE:.0%}. The memory is the "
        "peak of what is resident, mapped pages counted, less what is after `import torch`; target at most "
        f"{MEMORY / 1e9:.1f} GB.",
        table(
            (*columns, f"steps above {SHARE:.0%}", "memory"),
            [row(name, asked.files, matches) for name, matches in result.items()],
        ),
    )


if __name__ == "__main__":
    main()
