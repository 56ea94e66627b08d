"""How much memory and time does `equipoise diagnose` need for logs of 200 MB?

    python benchmarks/log_size.py

Six forms, each as text and one of them also as .gz. A log is written to a temporary folder, diagnosed in a new process,
and deleted. Peak memory is the largest resident set of that process (VmHWM of Linux; ru_maxrss would contain that of
its parent), above that of one that diagnosed 200 rows of the same form; CPU seconds are user and system time of the
first above those of the second. The form counts as recognised from the first megabyte if the first megabyte alone, as a
file, is read as the same form. Aims: at most 300 MB, at least 20 MB a CPU second.
"""

import json
import math
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from _results import HERE, ROOT, Item, Result, Results, create_parser, environment, table, write

MEGABYTE = 10**6
AIM_MEMORY, AIM_SPEED = 300, 20
SMALL_ROWS = 200
BLOCK_ROWS = 20_000
CHILD = """
import contextlib, io, json, resource, sys
from equipoise.cli import main as cli
output = io.StringIO()
with contextlib.redirect_stdout(output):
    cli.run(["diagnose", sys.argv[1], "--json"])
usage = resource.getrusage(resource.RUSAGE_SELF)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
result = json.loads(output.getvalue())
print(json.dumps({
    "megabytes": int(status["VmHWM"].split()[0]) * 1024 / 1e6,
    "seconds": usage.ru_utime + usage.ru_stime,
    **{key: result.get(key) for key in ("form", "verdict", "readings", "error")},
}))
"""
Line = Callable[[int, float, float], str]
"""Number of a row, loss of D, loss of G -> its text, with its end."""


def pytorch_dcgan(row: int, d: float, g: float) -> str:
    epoch, batch = divmod(row, 1583)
    return (
        f"[{epoch}/5000][{batch}/1583]\tLoss_D: {d:.4f}\tLoss_G: {g:.4f}\tD(x): {1 - d / 3:.4f}\t"
        f"D(G(z)): {d / 3:.4f} / {d / 4:.4f}\n"
    )


def pix2pix(row: int, d: float, g: float) -> str:
    epoch, batch = divmod(row, 400)
    return (
        f"(epoch: {epoch + 1}, iters: {batch + 1}, time: 0.110, data: 0.002) G_GAN: {g:.3f} G_L1: {20 + g:.3f} "
        f"D_real: {d / 2:.3f} D_fake: {d / 2:.3f} \n"
    )


def tqdm(row: int, d: float, g: float) -> str:
    share = row / 10_000_000
    return (
        f"\r{100 * share:3.0f}%|{'█' * int(10 * share):<10}| {row}/10000000 [02:46<81:43:57,  8.90it/s, "
        f"d_loss={d:.3f}, g_loss={g:.3f}]"
    )


def csv(row: int, d: float, g: float) -> str:
    if row == 0:
        return "step,loss_d,loss_g,d_real,d_fake,lr\n"
    return f"{row},{d:.6f},{g:.6f},{d / 2:.6f},{d / 2:.6f},0.0002\n"


def json_lines(row: int, d: float, g: float) -> str:
    return f'{{"step": {row}, "loss_d": {d:.6f}, "loss_g": {g:.6f}, "lr": 0.0002, "time": {1.7e9 + row:.1f}}}\n'


def studiogan(row: int, d: float, g: float) -> str:
    minute = f"2021-01-{1 + row // 1440 % 28:02d} {row // 60 % 24:02d}:{row % 60:02d}:00"
    text = (
        f"[INFO] {minute} > Step: {row:7d} Progress: {row / 100_000:.1f}% Elapsed: 0:00:53 temperature: no ada_p: No "
        f"Discriminator_loss: {d:.6g} Generator_loss: {g:.6g} \n"
    )
    if row % 2000:
        return text
    return text + f"[INFO] {minute} > FID score (Step: {row}, Using test moments): {20 + 100 / (1 + row / 1e5):.6f}\n"


FORMS: Mapping[str, tuple[str, Line]] = {
    "PyTorch DCGAN": ("train.log", pytorch_dcgan),
    "pix2pix": ("loss_log.txt", pix2pix),
    "tqdm with carriage returns": ("train.out", tqdm),
    "CSV": ("log.csv", csv),
    "JSON lines": ("log.jsonl", json_lines),
    "StudioGAN": ("studiogan.log", studiogan),
}


def items(megabytes: int) -> list[Item]:
    plain = [{"form": form, "megabytes": megabytes, "gz": False} for form in FORMS]
    return [*plain, {"form": "PyTorch DCGAN", "megabytes": megabytes, "gz": True}]


def blocks(line: Line) -> Iterator[bytes]:
    """Yield an endless log in blocks; the losses swing a little, as in a run that goes well."""
    start = 0
    while True:
        rows = range(start, start + BLOCK_ROWS)
        swings = ((row, math.sin(row / 7.0) + math.sin(row / 1000.0)) for row in rows)
        yield "".join(line(row, 0.9 + 0.1 * swing, 1.5 + 0.2 * swing) for row, swing in swings).encode()
        start += BLOCK_ROWS


def write_log(path: Path, line: Line, size: int, is_compressed: bool) -> None:
    """Write whole rows of about `size` bytes, before compression."""
    compress = zlib.compressobj(level=1, wbits=31)
    with path.open("wb") as file:
        for block in blocks(line):
            content = block if size >= len(block) else block[:size]
            size -= len(content)
            file.write(compress.compress(content) if is_compressed else content)
            if size <= 0:
                break
        file.write(compress.flush() if is_compressed else b"")


def diagnose(path: Path) -> Result:
    """Diagnose a log in a new process: peak memory, CPU seconds, form, verdict."""
    command = [sys.executable, "-c", CHILD, str(path)]
    process = subprocess.run(command, env=environment(1), cwd=ROOT, capture_output=True, text=True)
    if process.returncode:
        raise SystemExit(f"{path.name}: exit code {process.returncode}:\n{process.stderr[-3000:]}")
    result: Result = json.loads(process.stdout.splitlines()[-1])
    return result


def measure(item: Item) -> Result:
    name, line = FORMS[item["form"]]
    size = item["megabytes"] * MEGABYTE
    with tempfile.TemporaryDirectory(prefix="log-size-") as folder:
        small, head, large = (Path(folder) / part / name for part in ("small", "head", "large"))
        for path in (small, head, large):
            path.parent.mkdir()
        small.write_text("".join(line(row, 0.9 + 0.1 * math.sin(row), 1.5) for row in range(SMALL_ROWS)))
        write_log(head, line, MEGABYTE, False)
        path = large.with_name(f"{name}.gz") if item["gz"] else large
        write_log(path, line, size, item["gz"])
        idle, first, result = (diagnose(path) for path in (small, head, path))
    seconds = max(result["seconds"] - idle["seconds"], 1e-3)
    return {
        **result,
        "memory_above_idle": result["megabytes"] - idle["megabytes"],
        "megabytes_per_second": item["megabytes"] / seconds,
        "seconds": seconds,
        "is_form_of_head": first["form"] == result["form"] and result["form"] is not None,
    }


def rows(results: Results, wanted: list[Item]) -> Iterator[tuple[object, ...]]:
    for item in wanted:
        if result := results.result(item):
            memory, speed = result["memory_above_idle"], result["megabytes_per_second"]
            is_good = memory <= AIM_MEMORY and speed >= AIM_SPEED and result["is_form_of_head"]
            yield (
                item["form"] + (", .gz" if item["gz"] else ""),
                f"{memory:.0f} MB",
                f"{result['seconds']:.1f} s",
                f"{speed:.1f}",
                "yes" if result["is_form_of_head"] else "no",
                result["error"] or f"{result['form']}: {result['verdict']}, {result['readings']:,} readings",
                "yes" if is_good else "no",
            )


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--megabytes", type=int, default=200, help="size of the logs before compression")
    parser.add_argument("--only", help="one form")
    args = parser.parse_args()
    results = Results(args.out / "results" / "log_size.jsonl")
    wanted = [item for item in items(args.megabytes) if args.only in (None, item["form"])]
    if not args.table:
        results.measure(wanted, measure)
    head = ("form", "memory above idle", "CPU", "MB per CPU second", "form from the first MB", "result", "aims reached")
    notes = HERE / "log_size_notes.md"
    write(
        args.out / "log_size.md",
        "# Diagnosis of large logs",
        results.provenance(wanted),
        f"Logs of {args.megabytes} MB. " + (__doc__ or "").partition("log_size.py\n\n")[2].rstrip(),
        table(head, rows(results, wanted)),
        *([notes.read_text().strip()] if notes.exists() else []),
    )


if __name__ == "__main__":
    main()
