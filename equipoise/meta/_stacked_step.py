"""One step of many runs of perceptrons: the only lines that change their weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Self

import torch
from torch import Generator, Tensor

from equipoise.core.data import Stream
from equipoise.core.model import Memory
from equipoise.core.records import PhaseRecord
from equipoise.diagnosis import signals as sensing
from equipoise.diagnosis.signals import Probability, Tally, Window
from equipoise.meta._stacked_game import Dials, Moments, StackedGame, StackedLoss
from equipoise.training import averaging

EPS = 1e-8
"""Adam's, that of base.Settings."""


@dataclass(frozen=True, slots=True)
class Player:
    """One network of every run: its weights and Adam's two moments (R, P) float32, its number of updates (R,) int64."""

    weights: Tensor
    mean: Tensor
    square: Tensor
    updates: Tensor

    def at(self, rows: Tensor) -> Self:
        """Copies of some rows."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def put(self, rows: Tensor, other: "Player") -> None:
        """Write rows back."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)


@torch.no_grad()
def adam(player: Player, gradient: Tensor, lr: Tensor, beta1: Tensor, beta2: Tensor) -> None:
    """One update, each run by its own settings (R,) float64: Kingma 2015, algorithm 1."""
    player.updates.add_(1)
    first, second = (1 - beta**player.updates for beta in (beta1, beta2))
    column = partial(_column, dtype=gradient.dtype)
    player.mean.lerp_(gradient, column(1 - beta1))
    player.square.mul_(column(beta2)).addcmul_(gradient, gradient * column(1 - beta2))
    denominator = player.square.sqrt().div_(column(second.sqrt())).add_(EPS)
    player.weights.sub_(player.mean * column(lr / first) / denominator)


def _column(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to(dtype)[:, None]


@dataclass(slots=True)
class Stack:
    """Runs that are trained together, a row each, and all that moves with them.

    `players`: generator and discriminator. `averaged`: (R, P), the generators' running averages. `memory`: buffers
    (R,). `window`: what was gathered since the last reading, a row a run. `draws`: batches taken from each stream.
    """

    game: StackedGame
    probability: Probability | None
    players: Mapping[str, Player]
    averaged: Tensor
    memory: Memory
    dials: Dials
    generators: Sequence[Generator]
    streams: Sequence[Stream]
    batch_size: int
    draws: Tensor
    window: Window
    step: int = 0

    @property
    def images(self) -> int:
        """Reals that each run has seen."""
        return self.step * self.batch_size

    def keep(self, rows: Sequence[int]) -> None:
        """Let go of all other runs."""
        index = torch.tensor(rows, dtype=torch.int64, device=self.averaged.device)
        self.players = {name: player.at(index) for name, player in self.players.items()}
        self.averaged, self.draws = self.averaged[index], self.draws[index]
        self.memory = {name: value[index] for name, value in self.memory.items()}
        self.dials = self.dials.at(index)
        self.generators = [self.generators[row] for row in rows]
        self.streams = [self.streams[row] for row in rows]
        self.window = Window()


def run_step(stack: Stack, *, measure: bool = False) -> None:
    """Both players' updates, as often in each run as its knobs say, and the step counted; see training/step.py.

    `measure`: compare the weights before and after each update.
    """
    batches: list[Tensor] = []
    dials = stack.dials
    failed = torch.zeros(len(stack.generators), dtype=torch.bool, device=stack.averaged.device)
    for name in ("discriminator", "generator"):
        repeats, done = dials[f"{name}_steps"], None
        for repeat in range(int(repeats.max())):
            if repeat == len(batches):
                batches.append(_batch(stack, repeat))
            due = repeats > repeat
            rows = None if bool(due.all()) else due.nonzero().flatten()
            update = _update(stack, name, batches[repeat], rows, measure)
            failed[slice(None) if rows is None else rows] |= update.failed()
            done = update if done is None or rows is None else done.overlaid(rows, update)
        if done is not None:
            stack.window = _gathered(stack.window, name, done, stack.probability)
    stack.draws += torch.maximum(dials["discriminator_steps"], dials["generator_steps"]).long()
    stack.step += 1
    _average(stack)
    non_finite = failed.float()
    before = stack.window.non_finite
    stack.window = replace(stack.window, non_finite=non_finite if before is None else before + non_finite)


@dataclass(frozen=True, slots=True)
class Update:
    """What one update did, run by run: losses, `norm` of the gradient, `ratio` of the change, (R,); logits (R, B)."""

    total: Tensor
    adversarial: Tensor
    norm: Tensor
    ratio: Tensor | None
    logit_real: Tensor | None
    logit_fake: Tensor

    def failed(self) -> Tensor:
        """(R,) bool: where the loss or the gradient was not finite."""
        return ~(self.total.isfinite() & self.norm.isfinite())

    def overlaid(self, rows: Tensor, other: "Update") -> "Update":
        """This, with some rows from another."""
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        theirs = {name: getattr(other, name) for name, value in mine.items() if value is not None}
        return Update(**(mine | {name: mine[name].index_copy(0, rows, value) for name, value in theirs.items()}))


def _batch(stack: Stack, repeat: int) -> Tensor:
    """(R, B, D): the reals of one repeat."""
    draws = stack.draws.tolist()
    batches = [stream.batch(index + repeat).real for stream, index in zip(stack.streams, draws, strict=True)]
    return torch.stack(batches).to(stack.averaged.device)


def _update(stack: Stack, name: str, real: Tensor, rows: Tensor | None, measure: bool) -> Update:
    """Move one network of all runs, or of some `rows`."""
    if rows is None:
        now = Moments(stack.dials, stack.generators, stack.memory)
        loss, update = _moved(stack.game, name, stack.players, real, now, measure)
        stack.memory = {**stack.memory, **{key: value.detach() for key, value in loss.memory.items()}}
        return update
    players = {key: player.at(rows) for key, player in stack.players.items()}
    memory = {key: value[rows] for key, value in stack.memory.items()}
    now = Moments(stack.dials.at(rows), [stack.generators[row] for row in rows.tolist()], memory)
    loss, update = _moved(stack.game, name, players, real[rows], now, measure)
    stack.players[name].put(rows, players[name])
    changed = {key: stack.memory[key].index_copy(0, rows, value.detach()) for key, value in loss.memory.items()}
    stack.memory = {**stack.memory, **changed}
    return update


def _moved(
    game: StackedGame, name: str, players: Mapping[str, Player], real: Tensor, now: Moments, measure: bool
) -> tuple[StackedLoss, Update]:
    phase: Callable[..., StackedLoss] = game.discriminate if name == "discriminator" else game.fool
    weights = {key: player.weights.detach().requires_grad_(key == name) for key, player in players.items()}
    loss = phase(weights["generator"], weights["discriminator"], real, now)
    (gradient,) = torch.autograd.grad(loss.total.sum(), weights[name])
    player, dials = players[name], now.dials
    before = player.weights.clone() if measure else None
    adam(player, gradient, dials["lr_g" if name == "generator" else "lr_d"], dials["beta1"], dials["beta2"])
    ratio = None if before is None else _ratio(before, player.weights)
    norm = torch.linalg.vector_norm(gradient, dim=1)
    return loss, Update(loss.total.detach(), loss.adversarial, norm, ratio, loss.logit_real, loss.logit_fake)


def _ratio(before: Tensor, after: Tensor) -> Tensor:
    """|change of the weights| / |weights|, (R,)."""
    change, size = (torch.linalg.vector_norm(part, dim=1) for part in (after - before, before))
    ratio: Tensor = change / size.clamp_min(1e-12)
    return ratio


@torch.no_grad()
def _average(stack: Stack) -> None:
    half_lives = stack.dials["ema_half_life"].tolist()
    decays = [averaging.decay(half_life, stack.batch_size, stack.images) for half_life in half_lives]
    kept = torch.tensor(decays, dtype=torch.float64, device=stack.averaged.device)
    stack.averaged.lerp_(stack.players["generator"].weights, _column(1 - kept, stack.averaged.dtype))


def _gathered(window: Window, name: str, update: Update, probability: Probability | None) -> Window:
    """The window with one more update of one network in it, as sensing.gather has it for one run."""

    def numbers(scalars: Tensor, fake: Tensor, *real: Tensor) -> dict[str, Tensor]:
        total, adversarial, norm = scalars.unbind()
        terms, norms = {"adversarial": adversarial}, {name: norm}
        record = PhaseRecord(total, terms, norms, logit_real=real[0] if real else None, logit_fake=fake)
        return sensing.numbers(record, probability)

    scalars = torch.stack([update.total, update.adversarial, update.norm], dim=1)
    real = () if update.logit_real is None else (update.logit_real,)
    named: dict[str, Tensor] = torch.vmap(numbers)(scalars, update.logit_fake, *real)
    values = torch.stack([value.float() for value in named.values()], dim=1)
    before, tally = window.phases.get(name), Tally.of(tuple(named), values)
    tally = before.followed_by(tally) if before else tally
    updates = window.updates if update.ratio is None else {**window.updates, name: update.ratio}
    return replace(window, phases={**window.phases, name: tally}, updates=updates)


def of_run(window: Window, row: int) -> Window:
    """What the window of a stack holds of one run."""
    parts = {
        name: Tally(
            tally.names, tally.counts, *(part[row] for part in (tally.total, tally.low, tally.high, tally.last))
        )
        for name, tally in window.phases.items()
    }
    non_finite = None if window.non_finite is None else window.non_finite[row]
    return Window(parts, {name: ratio[row] for name, ratio in window.updates.items()}, non_finite=non_finite)
