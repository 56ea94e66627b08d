"""Arms of gpu_scale_check.py on processes that train one model: exchanges, gradients, speed, kill and resume."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from gpu_check import Settings, emoji, experiment_of, select_device, take_step
from torch import Tensor, distributed
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from equipoise.core.events import Stepped
from equipoise.core.model import OptimizerSettings
from equipoise.core.world import ALONE, World
from equipoise.experiment import launch
from equipoise.experiment.assembly import assemble
from equipoise.experiment.processes import RENDEZVOUS
from equipoise.experiment.rendezvous import connect
from equipoise.training import checkpoint
from equipoise.training.inheritance import digest_of
from equipoise.training.optimizers import make_optimizer
from equipoise.training.ranks import own_stream

SIZE, BATCH = 2, 32
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MEGABYTES = (1, 50)
LIMIT = timedelta(seconds=60)
WARM_UP = 3
TRAINED = {"cpu": 24, "cuda": 60}
"""Steps of a run that is killed."""
DETERMINISTIC = "import torch\ntorch.use_deterministic_algorithms(True, warn_only=True)\n"
Values = Mapping[str, object]


def try_exchanges(settings: Settings) -> Values:
    """Return whether a group of one process exchanges each dtype, and the milliseconds per exchange."""
    device = select_device(settings.device)
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # before the group exists
        device, backend = torch.device("cuda", device.index or 0), "cpu:gloo,cuda:nccl"
    with tempfile.TemporaryDirectory() as folder:
        store = distributed.FileStore(f"{folder}/store", 1)
        distributed.init_process_group(backend, store=store, rank=0, world_size=1, timeout=LIMIT)
        try:
            text = torch.tensor([7])
            distributed.broadcast(text, 0)  # on the CPU, as messages between processes are
            result: dict[str, object] = {"backend": distributed.get_backend(), "message": int(text) == 7}
            for dtype in DTYPES:
                values = torch.ones(1000, dtype=dtype, device=device)
                distributed.all_reduce(values)
                result[str(dtype).removeprefix("torch.")] = bool((values == 1).all())
            for megabytes in MEGABYTES:
                values = torch.ones(megabytes * 2**18, device=device)
                result[f"ms_{megabytes}_mb"] = round(1000 * _seconds(values), 3)
        finally:
            distributed.destroy_process_group()
    return result


def _seconds(values: Tensor, count: int = 20) -> float:
    """Return the seconds of one exchange."""
    for _ in range(WARM_UP):
        distributed.all_reduce(values)
    _wait(values.device)
    begin = time.perf_counter()
    for _ in range(count):
        distributed.all_reduce(values)
    _wait(values.device)
    return (time.perf_counter() - begin) / count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare_gradients(settings: Settings, model: str, size: int) -> Values:
    """Compare the gradients of two processes with those of one that has the whole batch."""
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for rank in range(SIZE):
            places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": SIZE, "LOCAL_WORLD_SIZE": SIZE}
            environment = {**os.environ, **{name: str(value) for name, value in places.items()}}
            environment[RENDEZVOUS] = f"{folder}/store"
            command = [sys.executable, __file__, settings.device, model, str(size)]
            parts.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        outputs = [part.communicate()[0] for part in parts]
    if any(part.returncode for part in parts):
        raise RuntimeError(f"exit codes {[part.returncode for part in parts]}")
    result: Values = json.loads(outputs[0].splitlines()[-1])
    return result


def compare_as_rank(settings: Settings, model: str, size: int) -> None:
    """Take part in the comparison; process 0 prints the result."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    with connect(SIZE) as connection:
        world = connection.world
        whole = _gradients(settings, model, size, ALONE)[0] if world.rank == 0 else []
        shared, weights = _gradients(settings, model, size, world)
        digests = world.gather_texts(weights)
        differences = [float((one - two).norm() / one.norm()) for one, two in zip(whole, shared, strict=False)]
    if world.rank == 0:
        result = {"updates": len(shared), "largest_difference": max(differences), "equal_weights": len({*digests}) == 1}
        print(json.dumps({**result, "is_close": max(differences) < 1e-4, "differences": differences}))


def _gradients(settings: Settings, model: str, size: int, world: World) -> tuple[list[Tensor], str]:
    """Return the gradients of the updates of two steps, on the CPU, and a digest of the weights afterwards."""
    several = {"devices": world.size} if world.size > 1 else {}
    experiment = experiment_of(settings, model, size, batch_size=BATCH, precision="fp32", seed=1, **several)
    training = assemble(experiment, None, world=world)
    state, plain = training.state, OptimizerSettings("sgd", 1e-3)  # Adam would enlarge differences by rounding
    state.model = dataclasses.replace(state.model, optimizer=lambda network, moment: plain)
    state.optimizers = {name: make_optimizer(state.model.networks[name], plain) for name in state.optimizers}
    state.generator.manual_seed(1)
    with _recorded_gradients() as gradients, SharesOfDraws(world):
        for _ in range(2):
            take_step(training, own_stream(training.streams.train, world))
    weights = {
        f"{name}/{key}": value
        for name, network in state.trained_networks.items()
        for key, value in network.state_dict().items()
    }
    return gradients, digest_of(weights)


@contextmanager
def _recorded_gradients() -> Iterator[list[Tensor]]:
    result: list[Tensor] = []

    def record(optimizer: Any, args: object, kwargs: object) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        found = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        result.append(torch.cat([gradient.flatten() for gradient in found]).cpu().double())

    handle = register_optimizer_step_pre_hook(record)
    try:
        yield result
    finally:
        handle.remove()


class SharesOfDraws(TorchDispatchMode):
    """Lets each process draw the normal numbers of the whole batch, and take those of its share."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, options = function._schema.name.removeprefix("aten::"), kwargs or {}
        if name != "randn" or self.world.size == 1 or not args[0] or args[0][0] != BATCH // self.world.size:
            return function(*args, **options)
        return self.world.own_part(function([BATCH, *args[0][1:]], *args[1:], **options))


def measure_ranks(settings: Settings, model: str, size: int) -> Values:
    """Return images per second of one process, of two with the same whole batch, and of two with twice the batch."""
    result: dict[str, object] = {}
    for name, devices, batch in (("one", None, BATCH), ("two_fixed", SIZE, BATCH), ("two_growing", SIZE, 2 * BATCH)):
        result[name] = round(_images_per_second(settings, model, size, devices, batch), 1)
    one = float(str(result["one"]))
    ratios = {f"{name}_ratio": round(float(str(result[name])) / one, 2) for name in ("two_fixed", "two_growing")}
    return {**result, **ratios, "batch_size": BATCH}


def _images_per_second(settings: Settings, model: str, size: int, devices: int | None, batch: int) -> float:
    """Train for the time of a part, and measure the second half of it."""
    never = dict.fromkeys(("sample_every", "save_every", "evaluate_every"), 10**6)
    experiment = experiment_of(
        *(settings, model, size),
        **{"steps": 10**6, "seconds": 2 * settings.seconds, "batch_size": batch, "devices": devices, "repair": False},
        **never,
    )
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for event in launch.start(experiment, Path(folder) / "run"):
            if isinstance(event, Stepped):
                times.append(time.perf_counter())
    late = [moment for moment in times if moment - times[0] >= settings.seconds] or times[-2:]
    return batch * (len(late) - 1) / (late[-1] - late[0]) if len(late) > 1 else 0.0


def kill_and_resume(settings: Settings, model: str, size: int) -> Values:
    """Kill one of two processes of a run, resume it, and compare it with a run that was not killed."""
    kind = select_device(settings.device).type
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(DETERMINISTIC)  # for processes of `--devices`, too
        environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        source = emoji(size)
        words = ["train", source.name, "--image-size", size, "--model", model, "--device", settings.device]
        words += ["--devices", SIZE, "--batch-size", BATCH, "--steps", TRAINED[kind], "--seed", 1, "--metric", "none"]
        words += ["--save-every", 4, "--sample-every", 1000, "--evaluate-every", 1000, "--no-film", "--quiet"]
        command = [sys.executable, "-m", "equipoise"]
        text = [str(word) for word in words]
        subprocess.run([*command, *text, "--out", str(folder / "whole")], env=environment, check=True)
        run = folder / "killed"
        process = subprocess.Popen(
            [*command, *text, "--out", str(run)], env=environment, stderr=subprocess.PIPE, text=True
        )
        while len(checkpoint.find(run / "checkpoints")) < 2 and process.poll() is None:
            time.sleep(0.02)
        victim = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[-1])
        os.kill(victim, signal.SIGKILL)
        begin = time.monotonic()
        _, errors = process.communicate()
        seconds, step = round(time.monotonic() - begin, 1), checkpoint.find(run / "checkpoints")[-1].name
        subprocess.run([*command, "resume", str(run), "--no-film", "--quiet"], env=environment, check=True)
        first, second = (checkpoint.read(checkpoint.find(one / "checkpoints")[-1]) for one in (folder / "whole", run))
    lines = [line for line in errors.splitlines() if line.startswith("equipoise: ")]
    different = [key for key in first.tensors if not torch.equal(first.tensors[key], second.tensors[key])]
    return {
        **{"exit_code": process.returncode, "seconds_until_the_end": seconds, "lines": lines, "resumed_from": step},
        **{"equal": not different and first.step == second.step, "different_tensors": len(different)},
    }


if __name__ == "__main__":
    device, model, size = sys.argv[1:]
    compare_as_rank(Settings(device, 0.0, 0.0, (int(size),), (), (), 0.0, Path()), model, int(size))
