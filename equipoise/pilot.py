"""The pilot: it gathers what a loop does, reads it now and then, and turns knobs by what a controller decides.

The training loop of this package has one; a loop of one's own can have one too:

    pilot = Pilot("annealed", optimizers={"generator": opt_g, "discriminator": opt_d}, steps=10_000)
    for batch in loader:
        ...                                     # forward, backward and step, as ever
        pilot.observe(loss_g=loss_g, loss_d=loss_d, logit_real=real, logit_fake=fake)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from equipoise import catalog
from equipoise.base import PhaseRecord, StepRecord
from equipoise.diagnosis import remedies
from equipoise.diagnosis import signals as sensing
from equipoise.diagnosis.history import History, from_plain, to_plain
from equipoise.diagnosis.remedies import Care, Case, Chart, prescribe, treated, with_overrides
from equipoise.diagnosis.signals import Window
from equipoise.diagnosis.symptoms import diagnose
from equipoise.errors import SettingError
from equipoise.events import REPAIR
from equipoise.knobs import Knobs, check_turnable
from equipoise.observations import Controller, Health, MetricReading, Observation, Override, Reading, Remedy, Signals

SENSE_EVERY = 50
"""Steps between two readings; each of the first EAGER steps is read, for that is where most runs go wrong."""
EAGER = 100
LEARNING_RATES = {"generator": "lr_g", "discriminator": "lr_d"}


@dataclass(frozen=True, slots=True)
class Turning:
    """One knob, turned, by the controller or by the repair of the run."""

    knob: str
    before: float
    after: float
    why: str
    by: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What one reading came to. `remedy`: what is to be done about the findings; its knobs are turned already."""

    loss: Mapping[str, Reading]
    observation: Observation[Any]
    turned: tuple[Turning, ...]
    remedy: Remedy | None = None


class Pilot:
    """Watches and turns. Mutable: it stands beside a loop; all that it remembers is in :meth:`state`."""

    def __init__(
        self,
        controller: str | Controller = "fixed",
        *,
        steps: int,
        optimizers: Mapping[str, Optimizer] | None = None,
        knobs: Knobs | None = None,
        turnable: frozenset[str] | None = None,
        probability: Callable[[Tensor], Tensor] | None = None,
        sense_every: int = SENSE_EVERY,
        care: Care | None = None,
        published: Knobs | None = None,
    ) -> None:
        """`steps`: the length of the run, for progress.

        `optimizers`: "generator" and "discriminator", read for gradients and written to; their settings are the base
        when `knobs` is None. `turnable`: knobs that act, None for those that optimizers have. `probability`: logits to
        D(x), where the loss makes them log-odds. `care`: how much may be done about findings, None for nothing;
        `published`: the GAN's own knobs, to which those that stand far away are pulled back, None for the base.
        Raises SettingError if the controller turns a knob that does not act.
        """
        self.controller: Controller = (
            catalog.build("controllers", controller) if isinstance(controller, str) else controller
        )
        self.name = type(self.controller).__name__.lower()
        self.steps = steps
        self.optimizers = dict(optimizers or {})
        self.base = knobs if knobs is not None else _knobs_of(self.optimizers)
        acting = turnable if turnable is not None else _turnable(self.optimizers)
        check_turnable(sorted(self.controller.turns()), acting, "this loop" if turnable is None else "this GAN")
        self.probability = probability
        self.sense_every = sense_every
        self.care = care
        self._case = Case(steps, published or self.base, acting, self.base)
        self._chart = Chart()
        self.step = 0
        self._images = 0
        self._window = Window()
        self._metrics: dict[str, tuple[float, int, Literal["lower", "higher"]]] = {}
        self._history = History()
        self.knobs = self.base
        if knobs is not None:
            self._write(_knobs_of(self.optimizers).differences(self.base))
        self._memory = self.controller.initial(self.base)
        start = self.controller.update(self._memory, Observation(0, 0.0, Signals(), Health(), self.base))
        self.wish = self.base.with_values(_clamped(start.knobs))
        self.started = self._turn(self.wish, start.why, self.name)
        self._memory = start.state

    def is_due(self, step: int) -> bool:
        """Whether a reading follows step number `step` (the first is 1)."""
        return step <= EAGER or step % self.sense_every == 0

    def observe(
        self,
        record: StepRecord | None = None,
        *,
        loss_g: Tensor | None = None,
        loss_d: Tensor | None = None,
        logit_real: Tensor | None = None,
        logit_fake: Tensor | None = None,
        real: Tensor | None = None,
        fake: Tensor | None = None,
    ) -> Decision | None:
        """Take in one step; at a reading, decide and turn. None in between: nothing is read from the device.

        A loop of one's own gives losses (scalars), logits (any shape), and `real` and `fake` samples (N, ...) to be
        compared, after backward, and any of them may be left out; gradients are read from the optimizers.
        """
        if record is None:
            record = self._record(loss_g, loss_d, logit_real, logit_fake)
            record = replace(record, real=_detached(real), fake=_detached(fake))
        self.step, self._images = record.step, record.images
        self._window = sensing.gather(self._window, record, self.probability)
        if not self.is_due(record.step):
            return None
        reading = sensing.sense(self._window, self._readings())
        self._window = Window()
        progress = min(1.0, record.step / self.steps)
        health, self._history = diagnose(self._history, record.step, progress, reading.signals)
        seen = Observation(record.step, progress, reading.signals, health, self.wish)
        turned, remedy = self.decide(seen), None
        if self.care is not None:
            remedy, self._chart = prescribe(self.care, self._case, self._chart, health, self.wish, record.step)
        if remedy is not None:
            turned += self.hold(remedy.overrides, record.step, remedy.finding.symptom)
        return Decision(reading.loss, seen, turned, remedy)

    def decide(self, seen: Observation[Any]) -> tuple[Turning, ...]:
        """Let the controller decide on an observation, and turn what its wish, the ranges and the overrides come to."""
        turn = self.controller.update(self._memory, seen)
        self._memory = turn.state
        released = self._turn(treated(self._chart, self.wish, seen.step), {}, REPAIR, "what held it has expired")
        self.wish = self.wish.clamped(turn.knobs)
        return released + self._turn(treated(self._chart, self.wish, seen.step), turn.why, self.name)

    def hold(self, overrides: Sequence[Override], step: int, why: str) -> tuple[Turning, ...]:
        """Hold knobs elsewhere than the controller wants them, each until its override expires."""
        self._chart = with_overrides(self._chart, overrides)
        return self._turn(treated(self._chart, self.wish, step), {}, REPAIR, why)

    def rolled_back(self, lost: int) -> None:
        """The weights are those of `lost` steps ago: what was seen of the others counts no more.

        The controller's state, the clock and the budget for remedies stay as they are.
        """
        self._chart = replace(self._chart, lost=self._chart.lost + lost)
        self._history, self._window, self._metrics = History(), Window(), {}

    def measured(self, metric: str, value: float, images: int, better: Literal["lower", "higher"] = "lower") -> None:
        """Tell the pilot the value of a metric, measured after `images` reals, and which way is up."""
        self._metrics[metric] = (value, images, better)

    @property
    def at_equilibrium(self) -> bool:
        """Whether the discriminator has not told reals from fakes for a tenth of the run."""
        return "equilibrium" in self._history.since

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the pilot remembers: tensors by name, and values for JSON."""
        tensors: dict[str, Tensor] = {}
        for name, tally in self._window.phases.items():
            tensors |= {
                f"{name}/total": tally.total,
                f"{name}/low": tally.low,
                f"{name}/high": tally.high,
                f"{name}/last": tally.last,
            }
        if self._window.non_finite is not None:
            tensors["non_finite"] = self._window.non_finite
        return tensors, {
            "knobs": self.knobs.values(),
            "wish": self.wish.values(),
            "chart": remedies.to_plain(self._chart),
            "controller": dict(self._memory),
            "metrics": {name: list(known) for name, known in self._metrics.items()},
            "history": to_plain(self._history),
            "phases": {name: [list(t.names), t.count] for name, t in self._window.phases.items()},
        }

    def restore(self, step: int, images: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.step, self._images = step, images
        before, self.knobs = self.knobs, self.base.with_values(values["knobs"])
        self.wish, self._chart = self.base.with_values(values["wish"]), remedies.from_plain(values["chart"])
        self._memory = values["controller"]
        self._metrics = {name: (value, at, better) for name, (value, at, better) in values["metrics"].items()}
        self._history = from_plain(values["history"])
        parts = ("total", "low", "high", "last")
        self._window = Window(
            phases={
                name: sensing.Tally(tuple(names), count, *(tensors[f"{name}/{part}"] for part in parts))
                for name, (names, count) in values["phases"].items()
            },
            non_finite=tensors.get("non_finite"),
        )
        self._write(before.differences(self.knobs), rescale=False)

    def _turn(self, knobs: Knobs, why: Mapping[str, str], by: str, otherwise: str = "") -> tuple[Turning, ...]:
        changes = self.knobs.differences(knobs)
        self.knobs = knobs
        self._write(changes)
        return tuple(Turning(name, *pair, why.get(name, otherwise), by) for name, pair in changes.items())

    def _write(self, changes: Mapping[str, tuple[float, float]], rescale: bool = True) -> None:
        """Hand what was turned to the optimizers, and nothing else: what their owner does to them stays.

        A group whose learning rate is not that of the knob (a second group, a scheduler of torch) keeps its ratio to
        it; after a restore it is left alone (`rescale` False), for its owner restores it too.
        """
        for player, optimizer in self.optimizers.items():
            before, after = changes.get(LEARNING_RATES[player], (1.0, 1.0))
            for group in optimizer.param_groups:
                if group["lr"] == before:
                    group["lr"] = after
                elif rescale:
                    group["lr"] *= after / before
                if "betas" in group:
                    pairs = zip(("beta1", "beta2"), group["betas"], strict=True)
                    group["betas"] = tuple(changes[name][1] if name in changes else kept for name, kept in pairs)

    def _record(
        self, loss_g: Tensor | None, loss_d: Tensor | None, logit_real: Tensor | None, logit_fake: Tensor | None
    ) -> StepRecord:
        phases = {
            "discriminator": PhaseRecord(
                total=_detached(loss_d),
                gradient_norms=self._gradient_norm("discriminator"),
                logit_real=_detached(logit_real),
                logit_fake=_detached(logit_fake),
            ),
            "generator": PhaseRecord(total=_detached(loss_g), gradient_norms=self._gradient_norm("generator")),
        }
        seen = [loss for loss in (loss_g, loss_d) if loss is not None]
        finite = torch.stack([loss.detach().isfinite().all() for loss in seen]).all() if seen else None
        images = self._images + (0 if logit_real is None else len(logit_real))
        return StepRecord(self.step + 1, images, phases, non_finite=None if finite is None else ~finite)

    def _gradient_norm(self, player: str) -> dict[str, Tensor]:
        groups = self.optimizers[player].param_groups if player in self.optimizers else []
        gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        return {player: torch.nn.utils.get_total_norm(gradients)} if gradients else {}

    def _readings(self) -> dict[str, MetricReading]:
        known = self._metrics.items()
        return {name: MetricReading(value, self._images - at, better) for name, (value, at, better) in known}


def _clamped(knobs: Knobs) -> dict[str, float]:
    return {name: range.clamp(getattr(knobs, name)) for name, range in knobs.ranges().items()}


def _knobs_of(optimizers: Mapping[str, Optimizer]) -> Knobs:
    """The base of a loop of one's own: what its optimizers are set to."""
    unknown = set(optimizers) - LEARNING_RATES.keys()
    if unknown:
        raise SettingError(f"optimizers are called 'generator' and 'discriminator', not '{min(unknown)}'")
    values = {}
    for player, optimizer in optimizers.items():
        group = optimizer.param_groups[0]
        values[LEARNING_RATES[player]] = float(group["lr"])
        if "betas" in group:
            values["beta1"], values["beta2"] = map(float, group["betas"])
    return Knobs().with_values(values)


def _turnable(optimizers: Mapping[str, Optimizer]) -> frozenset[str]:
    betas = {"beta1", "beta2"} if any("betas" in o.param_groups[0] for o in optimizers.values()) else set()
    return frozenset({LEARNING_RATES[player] for player in optimizers} | betas)


def _detached(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.detach()
