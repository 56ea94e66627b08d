"""One training step of stacked perceptrons. Only the functions of this module change their weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Self

import torch
from torch import Generator, Tensor

from equipoise.core.data import Stream
from equipoise.core.model import Memory, PhaseRecord
from equipoise.diagnosis import signals as sensing
from equipoise.diagnosis.signals import Probability, RunningStats, SignalWindow
from equipoise.meta._stacked_losses import StackedKnobs, StackedLoss, StackedLosses, StackedMoment
from equipoise.training import weights

EPS = 1e-8
"""Epsilon of Adam, the default of core.model.OptimizerSettings."""


@dataclass(frozen=True, slots=True)
class StackedNetwork:
    """One network of each run: weights and both moments of Adam (R, P) float32, number of updates (R,) int64."""

    weights: Tensor
    mean: Tensor
    square: Tensor
    updates: Tensor

    def select(self, rows: Tensor) -> Self:
        """Return a copy with the rows at indices `rows`."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def write(self, rows: Tensor, network: "StackedNetwork") -> None:
        """Overwrite the rows at indices `rows` with those of `network`."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(network, field.name)


@torch.no_grad()
def adam_update(network: StackedNetwork, gradient: Tensor, lr: Tensor, beta1: Tensor, beta2: Tensor) -> None:
    """Update the weights in place, each run with its own settings (R,) float64: Kingma 2015, algorithm 1."""
    network.updates.add_(1)
    first, second = (1 - beta**network.updates for beta in (beta1, beta2))
    column = partial(_column, dtype=gradient.dtype)
    network.mean.lerp_(gradient, column(1 - beta1))
    network.square.mul_(column(beta2)).addcmul_(gradient, gradient * column(1 - beta2))
    denominator = network.square.sqrt().div_(column(second.sqrt())).add_(EPS)
    network.weights.sub_(network.mean * column(lr / first) / denominator)


def _column(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to(dtype)[:, None]


@dataclass(slots=True)
class Stack:
    """State of runs that are trained together, one row per run. Mutable.

    `networks`: generator and discriminator. `averaged`: (R, P), running averages of the generators. `memory`: buffers
    (R,). `window`: statistics since the last reading, one row per run. `draws`: number of batches read from each
    stream.
    """

    losses: StackedLosses
    probability: Probability | None
    networks: Mapping[str, StackedNetwork]
    averaged: Tensor
    memory: Memory
    knobs: StackedKnobs
    generators: Sequence[Generator]
    streams: Sequence[Stream]
    batch_size: int
    draws: Tensor
    window: SignalWindow
    step: int = 0

    @property
    def images(self) -> int:
        """Number of real samples seen by each run."""
        return self.step * self.batch_size

    def keep(self, rows: Sequence[int]) -> None:
        """Remove all runs except those at indices `rows`."""
        index = torch.tensor(rows, dtype=torch.int64, device=self.averaged.device)
        self.networks = {name: network.select(index) for name, network in self.networks.items()}
        self.averaged, self.draws = self.averaged[index], self.draws[index]
        self.memory = {name: value[index] for name, value in self.memory.items()}
        self.knobs = self.knobs.select(index)
        self.generators = [self.generators[row] for row in rows]
        self.streams = [self.streams[row] for row in rows]
        self.window = SignalWindow()


def run_step(stack: Stack, *, measure: bool = False) -> None:
    """Run one step: update both networks of each run as often as its knobs specify; see training/step.py.

    `measure`: record the relative change of the weights.
    """
    batches: list[Tensor] = []
    knobs = stack.knobs
    failed = torch.zeros(len(stack.generators), dtype=torch.bool, device=stack.averaged.device)
    for name in ("discriminator", "generator"):
        repeats, last = knobs[f"{name}_steps"], None
        for repeat in range(int(repeats.max())):
            if repeat == len(batches):
                batches.append(_batch(stack, repeat))
            is_due = repeats > repeat
            rows = None if bool(is_due.all()) else is_due.nonzero().flatten()
            update = _update(stack, name, batches[repeat], rows, measure)
            failed[slice(None) if rows is None else rows] |= update.failed()
            last = update if last is None or rows is None else last.replace_rows(rows, update)
        if last is not None:
            stack.window = _accumulate(stack.window, name, last, stack.probability)
    stack.draws += torch.maximum(knobs["discriminator_steps"], knobs["generator_steps"]).long()
    stack.step += 1
    _update_averages(stack)
    non_finite = failed.float()
    before = stack.window.non_finite
    stack.window = replace(stack.window, non_finite=non_finite if before is None else before + non_finite)


@dataclass(frozen=True, slots=True)
class StackedUpdate:
    """Record of one update: losses, gradient `norm` and `ratio` |change| / |weights|, each (R,); logits (R, B)."""

    total: Tensor
    adversarial: Tensor
    norm: Tensor
    ratio: Tensor | None
    logit_real: Tensor | None
    logit_fake: Tensor

    def failed(self) -> Tensor:
        """Return (R,) bool: whether the loss or the gradient was not finite."""
        return ~(self.total.isfinite() & self.norm.isfinite())

    def replace_rows(self, rows: Tensor, update: "StackedUpdate") -> "StackedUpdate":
        """Return this record with the rows at indices `rows` replaced by those of `update`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changes = {name: getattr(update, name) for name, value in values.items() if value is not None}
        changed = {name: values[name].index_copy(0, rows, value) for name, value in changes.items()}
        return StackedUpdate(**(values | changed))


def _batch(stack: Stack, repeat: int) -> Tensor:
    """Return the reals (R, B, D) of one repetition of the update."""
    draws = stack.draws.tolist()
    batches = [stream.batch(index + repeat).real for stream, index in zip(stack.streams, draws, strict=True)]
    return torch.stack(batches).to(stack.averaged.device)


def _update(stack: Stack, name: str, real: Tensor, rows: Tensor | None, measure: bool) -> StackedUpdate:
    """Update one network of all runs, or of the runs at indices `rows`."""
    if rows is None:
        moment = StackedMoment(stack.knobs, stack.generators, stack.memory)
        loss, update = _optimize(stack.losses, name, stack.networks, real, moment, measure)
        stack.memory = {**stack.memory, **{key: value.detach() for key, value in loss.memory.items()}}
        return update
    networks = {key: network.select(rows) for key, network in stack.networks.items()}
    memory = {key: value[rows] for key, value in stack.memory.items()}
    moment = StackedMoment(stack.knobs.select(rows), [stack.generators[row] for row in rows.tolist()], memory)
    loss, update = _optimize(stack.losses, name, networks, real[rows], moment, measure)
    stack.networks[name].write(rows, networks[name])
    changed = {key: stack.memory[key].index_copy(0, rows, value.detach()) for key, value in loss.memory.items()}
    stack.memory = {**stack.memory, **changed}
    return update


def _optimize(
    losses: StackedLosses,
    name: str,
    networks: Mapping[str, StackedNetwork],
    real: Tensor,
    moment: StackedMoment,
    measure: bool,
) -> tuple[StackedLoss, StackedUpdate]:
    """Compute the loss of one network in each run and update its weights in place."""
    phase = losses.discriminator_loss if name == "discriminator" else losses.generator_loss
    weights = {key: network.weights.detach().requires_grad_(key == name) for key, network in networks.items()}
    loss = phase(weights["generator"], weights["discriminator"], real, moment)
    (gradient,) = torch.autograd.grad(loss.total.sum(), weights[name])
    network, knobs = networks[name], moment.knobs
    before = network.weights.clone() if measure else None
    adam_update(network, gradient, knobs["lr_g" if name == "generator" else "lr_d"], knobs["beta1"], knobs["beta2"])
    ratio = None if before is None else _change_ratio(before, network.weights)
    norm = torch.linalg.vector_norm(gradient, dim=1)
    return loss, StackedUpdate(loss.total.detach(), loss.adversarial, norm, ratio, loss.logit_real, loss.logit_fake)


def _change_ratio(before: Tensor, after: Tensor) -> Tensor:
    """Compute |change of the weights| / |weights|, (R,)."""
    change, size = (torch.linalg.vector_norm(part, dim=1) for part in (after - before, before))
    ratio: Tensor = change / size.clamp_min(1e-12)
    return ratio


@torch.no_grad()
def _update_averages(stack: Stack) -> None:
    half_lives = stack.knobs["ema_half_life"].tolist()
    decays = [weights.average_decay(half_life, stack.batch_size, stack.images) for half_life in half_lives]
    decay = torch.tensor(decays, dtype=torch.float64, device=stack.averaged.device)
    stack.averaged.lerp_(stack.networks["generator"].weights, _column(1 - decay, stack.averaged.dtype))


def _accumulate(
    window: SignalWindow, name: str, update: StackedUpdate, probability: Probability | None
) -> SignalWindow:
    """Add one update of one network to the window, as diagnosis.signals.accumulate does for a single run."""

    def scalars_of_run(scalars: Tensor, fake: Tensor, *real: Tensor) -> dict[str, Tensor]:
        total, adversarial, norm = scalars.unbind()
        terms, norms = {"adversarial": adversarial}, {name: norm}
        record = PhaseRecord(total, terms, norms, logit_real=real[0] if real else None, logit_fake=fake)
        return sensing.phase_scalars(record, probability)

    scalars = torch.stack([update.total, update.adversarial, update.norm], dim=1)
    real = () if update.logit_real is None else (update.logit_real,)
    named: dict[str, Tensor] = torch.vmap(scalars_of_run)(scalars, update.logit_fake, *real)
    values = torch.stack([value.float() for value in named.values()], dim=1)
    before, stats = window.phases.get(name), RunningStats.from_step(tuple(named), values)
    stats = before.merge(stats) if before else stats
    updates = window.updates if update.ratio is None else {**window.updates, name: update.ratio}
    return replace(window, phases={**window.phases, name: stats}, updates=updates)


def window_of_run(window: SignalWindow, row: int) -> SignalWindow:
    """Return the window of one run."""
    phases = {
        name: RunningStats(
            stats.names, stats.counts, *(part[row] for part in (stats.total, stats.low, stats.high, stats.last))
        )
        for name, stats in window.phases.items()
    }
    non_finite = None if window.non_finite is None else window.non_finite[row]
    return SignalWindow(phases, {name: ratio[row] for name, ratio in window.updates.items()}, non_finite=non_finite)
