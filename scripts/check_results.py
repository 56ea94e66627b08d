"""Record the results of short runs as SHA-256 digests, or compare them with the recorded ones.

    python scripts/check_results.py record                 write scripts/results/digests.json
    python scripts/check_results.py compare                run again; exit code 1 if a digest differs
    python scripts/check_results.py compare --only dcgan-rank mlp-repaired

The runs cover every model, a controller of each kind, repair, resume, fine-tuning, a policy and a comparison. The final
weights (every tensor with its name, shape and dtype), the numbers of the events except seconds, and the samples are
hashed. Texts and field names of events are not: they may be reworded, results may not. Digests depend on the processor
and the version of PyTorch, so compare only with a record made on the same machine; the record names both.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

RECORD = Path(__file__).parent / "results" / "digests.json"
PROCESSES = 2
UNHEALTHY = 3
"""Exit code of a run that ended unhealthy or diverged."""

DIGITS = ("digits", "--option", "data.image_size=16", "--batch-size", "32", "--threads", "1")
SMALL = ("--option", "width=8")
EMOJI = ("openmoji", "--option", "width=4", "--batch-size", "8")
SENTENCES = ("sentences", "--batch-size", "16", "--steps", "30")
RUNS: dict[str, list[tuple[str, ...]]] = {
    "dcgan-rank": [("train", *DIGITS, *SMALL, "--model", "dcgan", "--steps", "120", "--controller", "rank")],
    "dcgan-textbook-ppo": [
        (
            *("train", *DIGITS, *SMALL, "--model", "dcgan:lab32", "--steps", "120", "--controller", "ppo"),
            *("--metric", "fd_pixels"),
        )
    ],
    "wgan-annealed": [("train", *DIGITS, *SMALL, "--model", "wgan", "--steps", "110", "--controller", "annealed")],
    "wgan_gp-balance-resumed": [
        ("train", *DIGITS, *SMALL, "--model", "wgan_gp", "--steps", "60", "--controller", "balance"),
        ("resume", "--steps", "110"),
    ],
    "sngan-ada": [
        ("train", *DIGITS, *SMALL, "--model", "sngan", "--loss", "hinge", "--steps", "150", "--controller", "ada"),
    ],
    "mlp-learnable": [
        (
            *("train", "ring", "--model", "mlp", "--steps", "200", "--controller", "learnable:brief"),
            *("--set", "lecam_weight=0.01"),
        )
    ],
    "mlp-gap_aware-relativistic": [
        (
            *(
                "train",
                "grid",
                "--model",
                "mlp",
                "--steps",
                "200",
                "--controller",
                "gap_aware",
                "--loss",
                "relativistic",
            ),
            *("--set", "r1_gamma=0.1", "r2_gamma=0.1", "instance_noise=0.1", "feature_matching_weight=0.1"),
        )
    ],
    "mlp-repaired": [
        (
            *("train", "ring", "--model", "mlp", "--option", "width=32", "--steps", "1500", "--controller", "chain"),
            *("--option", "controller.of=balance,random", "--set", "lr_d=0.01", "lr_g=0.0001", "discriminator_steps=5"),
            *("--loss", "minimax", "--save-every", "50"),
        )
    ],
    "dirac-random": [("train", "origin", "--model", "dirac", "--steps", "200", "--controller", "random")],
    "cyclegan-time_only-resumed": [
        ("train", *EMOJI, "--model", "cyclegan:cpu32", "--steps", "20", "--controller", "time_only"),
        ("resume", "--steps", "40"),
    ],
    "pix2pix-fixed": [("train", *EMOJI, "--model", "pix2pix:cpu32", "--steps", "40")],
    "seqgan-rank": [
        (
            *("train", *SENTENCES, "--model", "seqgan", "--controller", "rank"),
            *("--option", "likelihood_steps=10", "discriminator_pretraining_steps=5", "hidden=16"),
        )
    ],
    "textgan-annealed": [("train", *SENTENCES, "--model", "textgan", "--controller", "annealed")],
}
"""Case -> its commands. Those of the other two cases are below."""

FINE_TUNED = "dcgan-fine-tuned"
FINE_TUNED_FROM = "dcgan-rank"
FINE_TUNING = (
    *("train", *DIGITS, *SMALL, "--model", "dcgan", "--steps", "60"),
    *("--set", "augment_p=0.2", "instance_noise=0.05"),
)
COMPARISON = "comparison"
PLAN = """
seeds = [0, 1]
baseline = "fixed"
looks = 2
samples = 200

[arms.fixed]

[arms.rank]
controller = "rank"
search = { "knobs.lr_d" = [1e-3, 4e-3] }

[arms.time_only]
controller = "time_only"

[tasks.ring]
data = "ring"
model = { name = "mlp", width = 16 }
steps = 200
batch_size = 64
metric = "coverage:samples"
reported = "mixture_modes"

[regimes.mis_set]
factors = { lr_d = 4.0 }
"""


def equipoise(*args: str, folder: Path) -> None:
    """Run one command in `folder`. Exits if it fails."""
    command = [sys.executable, "-m", "equipoise", *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if process.returncode not in (0, UNHEALTHY):
        sys.exit(f"equipoise {' '.join(args)}: exit code {process.returncode}\n{process.stdout}{process.stderr}")


def numbers(value: Any) -> Iterator[str]:
    """Yield all numbers, truth values and nulls of a JSON value except seconds."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name != "seconds":
                yield from numbers(part)
    elif isinstance(value, list):
        for part in value:
            yield from numbers(part)
    elif not isinstance(value, str):
        yield repr(value)


def digest_of_numbers(path: Path) -> str:
    """Hash the numbers in a file of JSON lines, sorted within each line."""
    lines = [" ".join(sorted(numbers(json.loads(line)))) for line in path.read_text().splitlines()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest_of_weights(folder: Path) -> str:
    """Hash all tensors of the final weights."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in sorted(load_file(path).items()):
            digest.update(f"{path.stem} {name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def digest_of_files(*folders: Path) -> str:
    """Hash the names and bytes of all files below some folders."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def digests_of_run(name: str, commands: list[tuple[str, ...]], root: Path) -> dict[str, str]:
    """Run the commands of one case and hash what they write."""
    run, sample_folder = root / name, root / f"{name}-samples"
    sample_folder.mkdir()
    for command, *args in commands:
        target = ["--out", str(run), "--evaluate-every", "20"] if command == "train" else []
        equipoise(command, *([str(run)] if command == "resume" else []), *args, *target, folder=root)
    model = name.partition("-")[0]
    if model not in ("cyclegan", "pix2pix"):
        file_name = {"seqgan": "out.txt", "textgan": "out.txt", "mlp": "out.csv", "dirac": "out.csv"}
        out = sample_folder / file_name.get(model, "out.png")
        equipoise("sample", str(run), "--count", "16", "--out", str(out), folder=root)
    return {
        "weights": digest_of_weights(run),
        "events": digest_of_numbers(run / "events.jsonl"),
        "samples": digest_of_files(run / "samples", sample_folder),
    }


def digests_of_comparison(root: Path) -> dict[str, str]:
    """Run a small comparison and hash the events of its runs."""
    (root / "plan.toml").write_text(PLAN)
    equipoise("compare", "plan.toml", "--out", "comparison", "--processes", "1", folder=root)
    logs = sorted((root / "comparison").rglob("events.jsonl"))
    digest = hashlib.sha256("".join(digest_of_numbers(log) for log in logs).encode()).hexdigest()
    return {"runs": str(len(logs)), "events": digest}


def compute_digests(root: Path, names: set[str]) -> dict[str, dict[str, str]]:
    """Run some cases and return their digests by name."""
    results: dict[str, dict[str, str]] = {}

    def run(name: str) -> None:
        results[name] = digests_of_run(name, RUNS[name], root)
        print(f"{len(results)} of {len(names)} finished: {name}", flush=True)

    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(run, [name for name in RUNS if name in names]))
    if FINE_TUNED in names:
        start = ("--from", str(root / FINE_TUNED_FROM))
        results[FINE_TUNED] = digests_of_run(FINE_TUNED, [(*FINE_TUNING, *start)], root)
    if COMPARISON in names:
        results[COMPARISON] = digests_of_comparison(root)
    return dict(sorted(results.items()))


def processor() -> str:
    """Return the model of the processor, as Linux names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["record", "compare"])
    parser.add_argument("--only", nargs="+", metavar="CASE", help="cases to run; default: all")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the run folders in DIR")
    args = parser.parse_args()
    cases = {*RUNS, FINE_TUNED, COMPARISON}
    if unknown := set(args.only or ()) - cases:
        parser.error(f"unknown case {', '.join(sorted(unknown))}; cases: {', '.join(sorted(cases))}")
    names = set(args.only or cases)
    with tempfile.TemporaryDirectory() as temporary:
        root = (args.keep or Path(temporary)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        digests = compute_digests(root, names | ({FINE_TUNED_FROM} if FINE_TUNED in names else set()))
    if args.command == "record":
        RECORD.parent.mkdir(exist_ok=True)
        record = {"processor": processor(), "torch": torch.__version__, "digests": digests}
        RECORD.write_text(json.dumps(record, indent=2) + "\n")
        return
    recorded = json.loads(RECORD.read_text())["digests"]
    differing = [
        f"{name}: {part}"
        for name, parts in recorded.items()
        if name in digests
        for part, digest in parts.items()
        if digests[name].get(part) != digest
    ]
    total = sum(map(len, digests.values()))
    print(f"{total - len(differing)} of {total} digests are equal", *differing, sep="\n")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
