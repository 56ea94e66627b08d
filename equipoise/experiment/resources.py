"""Devices and memory that an experiment needs at least, compared with what there is, before anything large is built."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.model import AnyBatch, AnyMoment, Loss, Networks, Phase
from equipoise.errors import MemoryLimitError, SettingError
from equipoise.experiment.assembly import assemble, available_cores, select_device
from equipoise.experiment.processes import (
    DEVICE_TYPES,
    check_shares,
    local_processes,
    one_share,
    started_processes,
)
from equipoise.experiment.settings import Experiment, build_data, build_recipe, require
from equipoise.training.step import run_step

BYTES_PER_WEIGHT = 16
"""A weight, its gradient and two moments of Adam, in float32."""
MAX_TENSORS = 50_000
"""Largest number of weight tensors: each layer takes time in every step, however small it is."""
COPIES_OF_BATCH = 3
"""Reals, fakes and the gradient of the fakes."""
COPIES_OF_SAMPLES = 2
"""Samples in batches, and joined."""
FREE_SHARE = 1 / 200
"""Share of the available memory below which a batch is not examined further."""
FEW_PROCESSES = 4
"""Number of processes that may share the cores of any machine, however few it has: enough to try what several do."""
SMALL_BATCH = 4
"""Batch size of the step whose activations are counted."""
GIB = 2**30


class _TooLargeError(Exception):
    """The networks exceed a limit while they are built."""


@dataclasses.dataclass(slots=True)
class _WeightCounter:
    """Counter of the weights of the modules that are built, which raises _TooLargeError above a limit of bytes."""

    limit: float
    weights: int = 0
    tensors: int = 0

    def add(self, module: nn.Module, name: str, weight: Tensor | None) -> None:
        """Count one weight tensor; called by torch."""
        if weight is None:
            return
        self.weights += weight.numel()
        self.tensors += 1
        if self.bytes > self.limit or self.tensors > MAX_TENSORS:
            raise _TooLargeError

    @property
    def bytes(self) -> int:
        """The number of bytes that the weights need in training."""
        return BYTES_PER_WEIGHT * self.weights


def check_devices(experiment: Experiment) -> None:
    """Raise SettingError if the processes of a completed experiment cannot have a device each on this machine.

    Processes on the CPU share one.
    """
    size = experiment.devices or 1
    if size == 1:
        return
    device_type = select_device(experiment.device or "auto").type
    if device_type not in DEVICE_TYPES:
        raise SettingError(f"device {device_type} works with one process, not with {size}; use --device cpu")
    if device_type == "cuda":
        local, count = local_processes(size), torch.cuda.device_count()
        if local > count:
            raise SettingError(
                f"{local} processes need {local} GPUs, and this machine has {count}; use --devices {count}, or "
                "--device cpu"
            )


def check_cores(experiment: Experiment) -> None:
    """Raise SettingError if a completed experiment would start many more processes on the CPU than this machine has
    cores: each holds the model and the data, and they are not faster.
    """
    size, cores = experiment.devices or 1, available_cores()
    is_on_cpu = select_device(experiment.device or "auto").type == "cpu"
    if is_on_cpu and "RANK" not in os.environ and size > max(FEW_PROCESSES, cores):
        raise SettingError(
            f"devices = {size} would start {size} processes on {cores} cores of the CPU; use --devices "
            f"{max(FEW_PROCESSES, cores)} at most, or --threads for one process"
        )


def with_processes(experiment: Experiment, devices: int | None) -> Experiment:
    """Return the experiment of a run to resume, with `devices` processes, or those that torchrun started; None: as many
    as before.

    Raises SettingError if they cannot share a batch, or if this machine has too few devices for them.
    """
    former_size = experiment.devices or 1
    size = started_processes(devices) or former_size
    experiment = dataclasses.replace(experiment, devices=size if size > 1 else None)
    check_shares(experiment)
    check_devices(experiment)
    if size != former_size:
        check_cores(experiment)
    return experiment


def check_memory(experiment: Experiment) -> None:
    """Raise MemoryLimitError if a completed experiment needs more memory than is available.

    The networks are built without memory, on torch's device "meta". The activations of a large batch are counted in a
    step with a small one. Both are lower bounds: a run that passes can still be too large.
    """
    available = available_memory(select_device(experiment.device or "auto"))
    if available is None:
        return
    spec = build_data(experiment).resolve().spec
    _check_weights(experiment, spec, available)
    batch_size, processes = require(experiment.batch_size, "batch_size"), experiment.devices or 1
    has_own_devices = select_device(experiment.device or "auto").type == "cuda"  # each process one of its own
    share = one_share(experiment) if has_own_devices else experiment
    size = require(share.batch_size, "batch_size")
    lower_bound = COPIES_OF_BATCH * size * prod(spec.shape) * 4
    if lower_bound > FREE_SHARE * available:
        lower_bound = max(lower_bound, size * _activation_bytes(share))
    if lower_bound > available:
        fitting = max(1, batch_size * available // (2 * lower_bound) // processes) * processes
        each = " on each device" if has_own_devices and processes > 1 else ""
        raise MemoryLimitError(
            f"batch_size = {batch_size:,} needs at least {_gib(lower_bound)} of memory{each}, and {_gib(available)} "
            f"are available; reduce it: --batch-size {fitting}"
        )


def check_sample_memory(count: int, spec: DataSpec, latent: int = 0) -> None:
    """Raise SettingError if so many samples do not fit into memory: float32, and once more while they are joined.

    `latent`: numbers of a latent, which are kept, too.
    """
    available = available_memory(torch.device("cpu"))
    size = COPIES_OF_SAMPLES * 4 * (prod(spec.shape) + latent)
    if available is not None and count * size > available:
        raise SettingError(
            f"count = {count:,} needs at least {_gib(count * size)} of memory, and {_gib(available)} are available; "
            f"reduce it: --count {max(1, available // (4 * size))}, several times with another --seed"
        )


def available_memory(device: torch.device) -> int | None:
    """Return the memory in bytes that a new process can use on a device; None if it is unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        values = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        return None
    return min([*values, *_container_limit()], default=None)


def _container_limit() -> list[int]:
    """Return the memory that the control group of this process (a container) leaves; empty without a limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        folder = Path("/sys/fs/cgroup")
        try:
            return [max(0, int((folder / limit).read_text()) - int((folder / used).read_text()))]
        except (OSError, ValueError):  # no control group, or the limit "max"
            continue
    return []


def _check_weights(experiment: Experiment, spec: DataSpec, available: int) -> None:
    counter = _WeightCounter(available)
    hook = register_module_parameter_registration_hook(counter.add)
    try:
        with torch.device("meta"), _WithoutNormals():
            build_recipe(experiment).build(spec, torch.Generator())
    except _TooLargeError as error:
        option = _largest_option(experiment)
        if counter.bytes > available:
            problem = f"need more than {_gib(counter.bytes)} of memory, and {_gib(available)} are available"
            raise MemoryLimitError(f"the networks {problem}; reduce {option}") from error
        problem = f"have more than {MAX_TENSORS:,} layers, each of which takes time in every step"
        raise SettingError(f"the networks {problem}; reduce {option}") from error
    except Exception:  # A custom model may not support this device; errors of its options are raised later.
        return
    finally:
        hook.remove()


class _WithoutNormals(TorchFunctionMode):
    """Skip `normal_`: on the device "meta" it changes nothing, but imports the compiler of torch, which takes 10 s."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if func in (Tensor.normal_, nn.init.normal_):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def _largest_option(experiment: Experiment) -> str:
    """Return the option of the model that is largest relative to its default, with its value, and its flag."""
    model = require(experiment.model, "model")
    defaults = {option.name: option.default for option in dataclasses.fields(catalog.load("models", model.name))}
    ratios = {
        name: value / defaults[name]
        for name, value in model.options.items()
        if _is_count(value) and _is_count(defaults.get(name))
    }
    if not ratios or max(ratios.values()) <= 1:
        return "the width or the image size: --option width=…, --image-size …"
    name = max(ratios, key=lambda name: ratios[name])
    return f"{name} = {model.options[name]:,}: --option {name}=…"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _activation_bytes(experiment: Experiment) -> int:
    """Return the bytes per sample that the largest phase of a step keeps for its backward pass."""
    small = dataclasses.replace(
        experiment, batch_size=SMALL_BATCH, accumulate=1, metric=None, steps=experiment.steps or 1
    )
    training = assemble(small, None)
    state, counts = training.state, _ByteCounter()
    weights = [weight for network in state.model.networks.values() for weight in network.parameters()]
    counts.seen.update(weight.untyped_storage().data_ptr() for weight in weights)
    phases = [dataclasses.replace(phase, loss=_counted(phase, counts)) for phase in state.model.phases]
    state.model = dataclasses.replace(state.model, phases=phases)
    run_step(state, training.streams.train, training.pilot.knobs, 1.0)  # growing networks at their full size
    return max(counts.phases, default=0) // SMALL_BATCH


@dataclasses.dataclass(slots=True)
class _ByteCounter:
    """Bytes of the tensors that autograd keeps, each storage once; `phases`: one number per phase."""

    seen: set[int] = dataclasses.field(default_factory=set)
    phases: list[int] = dataclasses.field(default_factory=list)

    @contextmanager
    def phase(self) -> Iterator[None]:
        """Count in the context."""
        seen, total = set(self.seen), 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal total
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                total += storage.nbytes()
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            yield
        self.phases.append(total)


def _counted(phase: Phase, counts: _ByteCounter) -> Callable[[Networks, AnyBatch, AnyMoment], Loss]:
    def loss(networks: Networks, batch: AnyBatch, moment: AnyMoment) -> Loss:
        with counts.phase():
            return phase.loss(networks, batch, moment)

    return loss


def _gib(size: float) -> str:
    return f"{size / GIB:,.0f} GiB" if size >= 10 * GIB else f"{size / GIB:.1f} GiB"
