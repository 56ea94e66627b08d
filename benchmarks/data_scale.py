"""Can a model train on 1,000,000 images in shards without decoding them beforehand, and in constant memory?

    python benchmarks/data_scale.py             about 5 minutes on a quiet machine; only the result is kept
    python benchmarks/data_scale.py --table     rewrite data_scale.md from results/data_scale.jsonl

Method. 1,000,000 PNG files of 32 x 32 colour pixels in 100 .tar files of 1 GB together, in a new folder: 2,000
different pictures (enlarged noise of 4 x 4 pixels) in ten folders, which are classes. Every measurement is in another
process of one thread: the first start, which indexes the shards; a second start; 2,000 batches of 64 images, with the
peak of resident memory (VmHWM, less what was resident after `import torch`) after the first and after the last one; a
batch at a position that was not read before. The index is compared with Python's tarfile on one of the shards. Then
batches are drawn by the process itself and through 1 and 2 other processes, in turn, twice each. CPU seconds are given
where a shared machine would change the time; images per second are those of the fastest round.
"""

import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _results import Item, Result, Results, create_parser, run_in_subprocess, table, write

SIDE, CELLS, PICTURES, CLASSES = 32, 4, 2000, 10
BATCH, BATCHES, ROUNDS, ROUND_BATCHES = 64, 2000, 2, 60
PARTS = ("index", "start", "draw", "tarfile")
PROCESSES = (0, 1, 2)
BLOCK = 512


def measure(item: Item) -> Result:
    """Measure everything on temporary files."""
    with tempfile.TemporaryDirectory() as root:
        begin = time.perf_counter()
        draw_shards(Path(root) / "set", item["images"], item["shards"])
        print(f"shards written in {time.perf_counter() - begin:.0f} s", flush=True)
        size = sum(path.stat().st_size for path in (Path(root) / "set").iterdir())
        result: dict[str, object] = {"bytes": size}
        for part in PARTS:
            result[part] = run_in_subprocess(__file__, {**item, "part": part, "place": root}, 1)
            print(part, result[part], flush=True)
        rounds = [
            {str(count): run_in_subprocess(__file__, {"part": "read", "place": root, "count": count}, 1)}
            for _ in range(ROUNDS)
            for count in PROCESSES
        ]
        return {**result, "rounds": rounds}


def draw_shards(folder: Path, images: int, shards: int) -> None:
    """Write the shards: headers by hand, because tarfile would take most of the time."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(0)
    contents = []
    for _ in range(PICTURES):
        picture = Image.fromarray(generator.integers(0, 256, (CELLS, CELLS, 3), np.uint8))
        content = io.BytesIO()
        picture.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(content, "PNG")
        contents.append(content.getvalue())
    for shard in range(shards):
        with (folder / f"set-{shard:05d}.tar").open("wb") as file:
            for number in range(shard * images // shards, (shard + 1) * images // shards):
                content = contents[number % PICTURES]
                file.write(tar_header(f"{number % CLASSES}/{number:08d}.png", len(content)))
                file.write(content + bytes(-len(content) % BLOCK))
            file.write(bytes(2 * BLOCK))


def tar_header(name: str, size: int) -> bytes:
    """Return the header of a regular file (POSIX.1-1988, ustar)."""
    fields = name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    header = fields + b" " * 8 + b"0" + bytes(100) + b"ustar\x0000" + bytes(247)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def run_part(item: Item) -> Result:
    """Measure one part in this process."""
    import torch

    torch.set_num_threads(1)
    before = memory("VmRSS")
    from equipoise.data.image_shards import ImageShards

    place = Path(item["place"])
    data = ImageShards(str(place / "set"), image_size=SIDE, cache=str(place / "cache"))
    if item["part"] == "tarfile":
        return compare_with_tarfile(min((place / "set").iterdir()))
    if item["part"] == "read":
        return read_batches(data.stream("train", BATCH, 0), item["count"])
    begin, cpu = time.perf_counter(), time.process_time()
    resolved = data.resolve()
    ready = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}
    if item["part"] != "draw":
        index = sum(path.stat().st_size for path in (place / "cache").rglob("*") if path.is_file())
        return {**ready, "memory": memory("VmHWM") - before, "index_bytes": index}
    stream = resolved.stream("train", BATCH, 0)
    begin, cpu = time.perf_counter(), time.process_time()
    stream.batch(0)
    first = {"first_seconds": time.perf_counter() - begin, "first_cpu": time.process_time() - cpu}
    first_memory, cpu = memory("VmHWM") - before, time.process_time()
    for index in range(1, BATCHES):
        stream.batch(index)
    per_batch = (time.process_time() - cpu) / (BATCHES - 1)
    last_memory, seeks = memory("VmHWM") - before, []
    for position in (10**9, 7, 123_456_789):
        cpu = time.process_time()
        stream.batch(position)
        seeks.append(time.process_time() - cpu)
    order = time.process_time()
    for index in range(100):
        stream.reader.rows(10**6 + index)
    order = (time.process_time() - order) / 100
    return {
        **{**first, "batch_cpu": per_batch, "seek_cpu": statistics.median(seeks), "order_cpu": order},
        **{"first_memory": first_memory, "last_memory": last_memory},
    }


def compare_with_tarfile(path: Path) -> Result:
    """Return the CPU seconds of listing a shard, by this package and by Python's tarfile."""
    import tarfile

    from equipoise.data._shards.tar_members import read_members

    cpu = time.process_time()
    members = sum(1 for _ in read_members(path))
    own, cpu = time.process_time() - cpu, time.process_time()
    with tarfile.open(path, "r:") as archive:
        assert sum(1 for _ in archive) == members
    return {"members": members, "own_cpu": own, "tarfile_cpu": time.process_time() - cpu}


def read_batches(stream: object, count: int) -> Result:
    """Return images per second, and CPU seconds per image of this process and of those that read for it."""
    import torch

    from equipoise.training.load_ahead import load_ahead

    with load_ahead(stream, torch.device("cpu"), count) as ahead:
        for index in range(10):  # the processes have started
            ahead.batch(index)
        begin, cpu = time.perf_counter(), time.process_time()
        for index in range(10, 10 + ROUND_BATCHES):
            ahead.batch(index)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        others = [memory("VmHWM", reader.process.pid) for reader in ahead.stream.processes] if count else [0]
    images = BATCH * ROUND_BATCHES
    return {"images_per_second": images / seconds, "own_cpu": cpu / images, "memory_of_each": max(others)}


def memory(name: str, process: int | str = "self") -> int:
    """Return a line of /proc/PROCESS/status in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def rows(item: Item, result: Result) -> list[list[str]]:
    index, start, draw, tar = (result[part] for part in PARTS)
    return [
        ["index the shards, once", f"{index['cpu']:.1f} s CPU ({index['seconds']:.0f} s)"],
        [
            "the same members by Python's tarfile",
            f"{tar['tarfile_cpu'] / tar['own_cpu']:.1f} times the CPU ({tar['members']:,} members)",
        ],
        [
            "size of the index",
            f"{index['index_bytes'] / 1e6:.1f} MB, {index['index_bytes'] / item['images']:.1f} B an image",
        ],
        ["peak memory while indexing", f"{index['memory'] / 1e6:.0f} MB"],
        ["later starts", f"{start['cpu']:.2f} s CPU ({start['seconds']:.1f} s)"],
        ["first batch", f"{draw['first_cpu']:.3f} s CPU"],
        ["further batches", f"{1e3 * draw['batch_cpu']:.1f} ms CPU, {1e6 * draw['batch_cpu'] / BATCH:.0f} µs an image"],
        ["a batch at any position (median of three)", f"{1e3 * draw['seek_cpu']:.1f} ms CPU"],
        ["of it, the order", f"{1e3 * draw['order_cpu']:.2f} ms CPU"],
        ["peak memory after the first batch", f"{draw['first_memory'] / 1e6:.0f} MB"],
        [f"peak memory after batch {BATCHES:,}", f"{draw['last_memory'] / 1e6:.0f} MB"],
    ]


def process_rows(result: Result) -> list[list[str]]:
    by_count = {count: [row[str(count)] for row in result["rounds"] if str(count) in row] for count in PROCESSES}
    base = max(row["images_per_second"] for row in by_count[0])
    lines = []
    for count, rounds in by_count.items():
        best = max(row["images_per_second"] for row in rounds)
        own = statistics.median(row["own_cpu"] for row in rounds)
        others = [row["memory_of_each"] for row in rounds if row.get("memory_of_each")]
        each = f"{max(others) / 1e6:.0f} MB" if others else "–"
        lines.append([str(count), f"{best:,.0f}", f"{best / base:.2f}", f"{1e6 * own:.0f} µs", each])
    return lines


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=100)
    args = parser.parse_args()
    if args.item:
        print(json.dumps(run_part(args.item)))
        return
    item = {"images": args.images, "shards": args.shards}
    results = Results(args.out / "results" / "data_scale.jsonl")
    if not args.table:
        results.measure([item], measure)
    if (result := results.result(item)) is None:
        sys.exit("there are no results yet; run without --table")
    write(
        args.out / "data_scale.md",
        f"# {args.images:,} images in shards",
        results.provenance([item]),
        f"{args.images:,} PNG files of {SIDE} x {SIDE} pixels in {args.shards} .tar files, "
        f"{result['bytes'] / 1e9:.2f} GB; batch size {BATCH}, one thread. Seconds in brackets and images per "
        "second depend on what else the machine does, CPU seconds little. Memory is that above what `import torch` "
        "takes. How it works: [large data](../docs/how-to/large-data.md).",
        table(("what", "result"), rows(item, result)),
        f"Batches drawn by the process that trains (0) and by others for it (`--data-workers`), {ROUNDS} rounds of "
        f"{ROUND_BATCHES} batches in turn, the fastest one of each; {os.cpu_count()} cores.",
        table(
            ("processes", "images/s", "ratio", "CPU of the process that trains, an image", "memory of each process"),
            process_rows(result),
        ),
    )


if __name__ == "__main__":
    main()
