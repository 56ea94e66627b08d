"""Exchange of an update between processes: one all-reduce per dtype, between the backward pass and the optimizer.

Gradients, buffers and losses become their means over the processes, so that all take the same update of the whole
batch. Logits, and whether a process wishes to stop, travel with them.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from equipoise.core.model import PhaseRecord
from equipoise.core.world import World


@dataclass(slots=True)
class StopSignal:
    """Whether any process requested a stop. `is_requested`: whether this one did; sent with the gradients of an update.

    On a GPU the answer is that of the update before the last one, so that no process waits for the kernels of the last.
    """

    is_requested: bool = False
    _flags: list[tuple[Tensor, torch.cuda.Event | None]] = field(default_factory=list)

    def receive(self, count: Tensor) -> None:
        """Store the number of processes that wish to stop, a scalar on the device."""
        if count.device.type != "cuda":
            self._flags = [(count, None)]
            return
        copy = torch.empty((), pin_memory=True).copy_(count, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._flags = [*self._flags[-1:], (copy, event)]

    def is_set(self) -> bool:
        """Return whether any process wishes to stop; the same on all of them, if all ask after the same step."""
        if not self._flags or (self._flags[-1][1] is not None and len(self._flags) < 2):
            return False
        count, event = self._flags[0]
        if event is not None:
            event.synchronize()
        return bool(count > 0)


@torch.no_grad()
def reduce_update(
    world: World, weights: Sequence[Tensor], networks: Iterable[nn.Module], record: PhaseRecord, stop: StopSignal
) -> PhaseRecord:
    """Replace the gradients of `weights`, and the buffers of networks, by their means; return the record of all shares.

    A missing gradient counts as zero, but a weight that has a gradient in no process keeps none. To find these, a phase
    with missing gradients waits for the GPU; others do not. Losses become means; logits (B / size, ...) become those
    of the whole batch, in the order of ranks.
    """
    has_gradient = [weight.grad is not None for weight in weights]
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    device = weights[0].device
    total = [] if record.total is None else [record.total]
    scalars = torch.stack([value.float() for value in (*total, *record.terms.values())]) if total else None
    logits = {name: value for name in ("logit_real", "logit_fake") if (value := getattr(record, name)) is not None}
    means = [*gradients, *_buffers(networks), *([] if scalars is None else [scalars])]
    flags = _on_device([*has_gradient, stop.is_requested], device)
    sums = [flags, *(_in_own_place(world, value.float()) for value in logits.values())]
    _reduce(world, means, sums)
    stop.receive(flags[-1])
    if not all(has_gradient):
        for weight, gradient, count in zip(weights, gradients, flags[:-1].tolist(), strict=True):
            weight.grad = gradient if count else None
    gathered = {name: value.flatten(0, 1) for name, value in zip(logits, sums[1:], strict=True)}
    record = dataclasses.replace(record, logit_real=gathered.get("logit_real"), logit_fake=gathered.get("logit_fake"))
    if scalars is None:
        return record
    terms = dict(zip(record.terms, scalars[1:].unbind(), strict=True))
    return dataclasses.replace(record, total=scalars[0], terms=terms)


def _on_device(numbers: Sequence[float], device: torch.device) -> Tensor:
    """Return numbers as a vector in float32 on a device, without waiting for the kernels of a GPU."""
    is_gpu = device.type == "cuda"
    return torch.tensor(numbers, dtype=torch.float32, pin_memory=is_gpu).to(device, non_blocking=is_gpu)


def _buffers(networks: Iterable[nn.Module]) -> list[Tensor]:
    """Return the stored buffers of floats, such as running statistics and a mean style.

    As `data`: where the graph of a later phase refers to one, autograd need not notice that it changes.
    """
    return [
        buffer.data
        for network in networks
        for module in network.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.is_floating_point() and name not in module._non_persistent_buffers_set
    ]


def _in_own_place(world: World, values: Tensor) -> Tensor:
    """Return zeros (size, ...) with `values` in the place of this process, so that a sum gathers them."""
    result = values.new_zeros((world.size, *values.shape))
    result[world.rank] = values
    return result


def _reduce(world: World, means: Sequence[Tensor], sums: Sequence[Tensor]) -> None:
    """Replace tensors by their means or sums over the processes, in place: one flat tensor per dtype."""
    for dtype in dict.fromkeys(value.dtype for value in (*means, *sums)):
        averaged = [value for value in means if value.dtype == dtype]
        added = [value for value in sums if value.dtype == dtype]
        flat = torch.cat([value.reshape(-1) for value in (*averaged, *added)])
        world.add(flat)
        flat[: sum(value.numel() for value in averaged)].div_(world.size)
        parts = flat.split([value.numel() for value in (*averaged, *added)])
        for value, part in zip((*averaged, *added), parts, strict=True):
            value.copy_(part.view(value.shape))
