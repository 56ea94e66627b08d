"""Arms of gpu_scale_check.py on two processes that share one GPU: speed, memory, and comparisons."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from gpu_check import Settings, measure_speed, select_device

from equipoise.jobs.ray_backend import _limit_memory

SHARERS = 2
STEPS = {"cpu": 6, "cuda": 400}
PLAN = """
seeds = [0, 1]
evaluations = 2
samples = 64
[arms.fixed]
[tasks.emoji]
data = {{ name = "openmoji", image_size = {size} }}
model = "{model}"
steps = {steps}
batch_size = 32
reported = "fd_pixels"
"""
Values = Mapping[str, object]


def share_gpu(settings: Settings, model: str, size: int) -> Values:
    """Return the speed of one process that has all of the memory, and of two at once that have half of it each."""
    alone = _run_parts(settings, model, size, count=1)[0]
    both = _run_parts(settings, model, size, count=SHARERS)
    speeds = [float(str(part["images_per_second"])) for part in (alone, *both)]
    return {
        "alone": speeds[0],
        "together": speeds[1:],
        "sum_ratio": round(sum(speeds[1:]) / speeds[0], 2),
        "peak_gib": [part["peak_gib"] for part in (alone, *both)],
        "share_gib": both[0]["share_gib"],
        "refused_above_share": [part["refused_above_share"] for part in both],
    }


def _run_parts(settings: Settings, model: str, size: int, count: int) -> list[dict[str, object]]:
    """Run processes at once, each with its share of the memory; return what they print."""
    with tempfile.TemporaryDirectory() as folder:
        values = [settings.device, settings.seconds, model, size, folder, count]
        parts = [
            subprocess.Popen(
                [sys.executable, __file__, *map(str, values), str(number)], stdout=subprocess.PIPE, text=True
            )
            for number in range(count)
        ]
        outputs = [part.communicate()[0] for part in parts]
    if any(part.returncode for part in parts):
        raise RuntimeError(f"exit codes {[part.returncode for part in parts]}")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def measure_part(settings: Settings, model: str, size: int, folder: Path, count: int, number: int) -> Values:
    """Measure the speed at the same time as the other processes, and whether more memory is refused."""
    device = select_device(settings.device)
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)
        _limit_memory(1 / count)  # as processes of `equipoise compare --on ray --gpus-per-run 0.5` do
    (folder / f"ready-{number}").touch()
    while len(list(folder.iterdir())) < count:
        time.sleep(0.01)
    result = measure_speed(settings, model, size)
    refused, share = None, None
    if device.type == "cuda" and count > 1:
        total = torch.cuda.get_device_properties(device).total_memory
        share = round(total / count / 2**30, 2)
        try:
            torch.empty(int(1.1 * total / count), dtype=torch.uint8, device=device)
            refused = False
        except torch.OutOfMemoryError:
            refused = True
    return {**result, "refused_above_share": refused, "share_gib": share}


def compare_processes(settings: Settings, model: str, size: int, on: str) -> Values:
    """Return seconds of a comparison of two runs, with one process and with two; `on`: "ray" for two through Ray."""
    kind = select_device(settings.device).type
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plan.toml").write_text(PLAN.format(model=model, size=size, steps=STEPS[kind]))
        for count in (SHARERS,) if on else (1, SHARERS):
            command = [sys.executable, "-m", "equipoise", "compare", str(folder / "plan.toml"), "--json", "--quiet"]
            command += ["--out", str(folder / f"out-{count}"), "--processes", str(count)]
            command += ["--on", on, *(["--gpus-per-run", str(1 / SHARERS)] if kind == "cuda" else [])] if on else []
            finished = subprocess.run(command, capture_output=True, text=True)
            if finished.returncode not in (0, 3):
                raise RuntimeError((finished.stderr.strip() or finished.stdout.strip()).splitlines()[-1])
            values = json.loads(finished.stdout.splitlines()[-1])
            result |= {f"seconds_{count}": round(values["seconds"], 1), f"done_{count}": values["done"]}
            result |= {f"failed_{count}": values["failed"]}
    return result


if __name__ == "__main__":
    device, seconds, model, size, folder, count, number = sys.argv[1:]
    settings = Settings(device, float(seconds), 0.0, (int(size),), (), (), 0.0, Path(folder))
    print(json.dumps(measure_part(settings, model, int(size), Path(folder), int(count), int(number))))
