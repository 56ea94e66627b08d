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

from torch import Tensor
from torch.optim import Optimizer

from equipoise.core import catalog
from equipoise.core.events import REPAIR
from equipoise.core.knobs import Knobs, check_turnable
from equipoise.core.model import Model
from equipoise.core.observations import (
    Controller,
    Health,
    MetricReading,
    Observation,
    Override,
    Remedy,
    ScalarStats,
    Signals,
)
from equipoise.core.records import StepRecord
from equipoise.diagnosis import remedies
from equipoise.diagnosis import signals as sensing
from equipoise.diagnosis.history import History, from_plain, to_plain
from equipoise.diagnosis.remedies import Care, Case, Chart, prescribe, treated, with_overrides
from equipoise.diagnosis.signals import Window
from equipoise.diagnosis.symptoms import diagnose
from equipoise.errors import SettingError
from equipoise.pilot import inputs as telling
from equipoise.pilot import optimizers as steering
from equipoise.pilot.conflicts import Watch
from equipoise.pilot.controller_spec import check_same, identity, name_of
from equipoise.pilot.inputs import Number
from equipoise.pilot.snapshots import Rollback, Snapshots

SENSE_EVERY = 50
"""Steps between two readings; each of the first EAGER steps is read, for that is where most runs go wrong."""
EAGER = 100


@dataclass(frozen=True, slots=True)
class KnobChange:
    """One knob, turned, by the controller or by the repair of the run."""

    knob: str
    before: float
    after: float
    why: str
    by: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What one reading came to. `remedy`: what is to be done about the findings; its knobs are turned already.

    `restored`: the step whose weights a loop of one's own was put back to, None if it was not. `reward`: as in Turn.
    """

    loss: Mapping[str, ScalarStats]
    observation: Observation[Any]
    turned: tuple[KnobChange, ...]
    remedy: Remedy | None = None
    restored: int | None = None
    reward: float | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a loop says of its game; None for what it does not say.

    `turnable`: knobs that act, None for those that optimizers have. `probability`: logits to D(x) in [0, 1], of the
    same shape, where the loss makes them log-odds. `ideal`: knobs -> the discriminator's adversarial loss where fakes
    are as reals are, which gap_aware needs. `published`: the GAN's own knobs, to which repair pulls those that stand
    far away; None for where the run begins.
    """

    turnable: frozenset[str] | None = None
    probability: Callable[[Tensor], Tensor] | None = None
    ideal: Callable[[Any], float] | None = None
    published: Knobs | None = None

    @classmethod
    def of(cls, model: Model[Any]) -> "ModelInfo":
        """Those of a GAN of this package."""
        return cls(model.turnable, model.probability, model.ideal, model.knobs)


class Pilot:
    """Watches and turns. Mutable: it stands beside a loop; all that it remembers is in :meth:`state`."""

    def __init__(
        self,
        controller: str | Controller = "fixed",
        *,
        steps: int,
        optimizers: Mapping[str, Optimizer] | None = None,
        knobs: Knobs | type[Knobs] = Knobs,
        rules: ModelInfo = ModelInfo(),
        sense_every: int = SENSE_EVERY,
        care: Care | None = None,
        rollback: Rollback | None = None,
    ) -> None:
        """`steps`: the length of the run, for progress.

        `optimizers`: "generator" and "discriminator", read for gradients and written to. `knobs`: of which kind they
        are, all at their defaults but for those that optimizers have; or where all of them stand, optimizers too.
        `rules`: what is to be known of the game. `sense_every`: steps from reading to reading, after the first hundred.
        `care`: how much may be done about findings, None for nothing. `rollback`: how a loop of one's own is kept and
        put back, for repair; `care` is Care() with it if not given.
        Raises SettingError if the controller turns a knob that does not act.
        """
        if steps < 1:
            raise SettingError(f"steps = {steps}: it must be at least 1")
        if sense_every < 1:
            raise SettingError(f"sense_every = {sense_every}: it must be at least 1")
        self.controller: Controller = (
            catalog.build("controllers", controller) if isinstance(controller, str) else controller
        )
        self.name = name_of(self.controller)
        self.steps = steps
        self.optimizers = dict(optimizers or {})
        given = knobs() if isinstance(knobs, type) else knobs
        self.knobs = steering.knobs_of(self.optimizers, given)
        self.base = self.knobs if isinstance(knobs, type) else given
        self.rules = rules
        has = steering.standing(self.optimizers) if rules.turnable is None else rules.turnable
        self.acting = frozenset(has) - steering.stuck(self.optimizers)
        wanted = self.controller.turns()
        steering.check_free(self.optimizers, sorted({*self.knobs.differences(self.base), *wanted}))
        check_turnable(sorted(wanted), self.acting, "this loop" if rules.turnable is None else "this GAN")
        self.sense_every, self.eager = sense_every, EAGER
        self.care = care or (Care() if rollback else None)
        self._case = Case(steps, rules.published or self.base, self.acting, self.base)
        self._chart = Chart()
        self.step = 0
        self.images = 0
        self._window = Window()
        self._metrics: dict[str, tuple[float, int, Literal["lower", "higher"]]] = {}
        self._history = History()
        self._following, self._watch = steering.following(self.optimizers), Watch(self.optimizers)
        self.started = self._turn(self.base, {}, "knobs", "set by knobs=")
        self._memory = self.controller.initial(self.base)
        start = self.controller.update(self._memory, self._seen(0, Signals(), Health(), self.base))
        self.wish = self.base.with_values(_clamped(start.knobs))
        self.started += self._turn(self.wish, start.why, self.name)
        self._memory, self._reward = start.state, start.reward
        self._snapshots = Snapshots(rollback) if rollback else None

    def is_due(self, step: int) -> bool:
        """Whether a reading follows step number `step` (the first is 1)."""
        return step <= self.eager or step % self.sense_every == 0

    def observe(
        self,
        record: StepRecord | None = None,
        *,
        loss_g: Number | None = None,
        loss_d: Number | None = None,
        logit_real: Tensor | None = None,
        logit_fake: Tensor | None = None,
        logit_held_out: Tensor | None = None,
        real: Tensor | None = None,
        fake: Tensor | None = None,
    ) -> Decision | None:
        """Take in one step; at a reading, decide and turn. None in between: nothing is read from the device.

        A loop of one's own gives losses (one number each), logits (any shape) of what it trains on, of fakes and of
        held-out reals, and `real` and `fake` samples (N, ...) to be compared, after backward, and any of them may be
        left out; gradients are read from the optimizers. Raises SettingError for what is of another kind.
        """
        if record is None:
            told = {"loss_g": loss_g, "loss_d": loss_d, "logit_real": logit_real, "logit_fake": logit_fake}
            told |= {"logit_held_out": logit_held_out, "real": real, "fake": fake}
            self._watch.look()
            norms = {name: steering.gradient_norm(self.optimizers, name) for name in self.optimizers}
            record = telling.record(self.step + 1, self.images, told, norms)
        self.step, self.images = record.step, record.images
        self._window = sensing.gather(self._window, record, self.rules.probability)
        if not self.is_due(record.step):
            return None
        window, self._window = self._window, Window()
        return self.read(window, record.step, record.images)

    def read(self, window: Window, step: int, images: int) -> Decision:
        """Read what was gathered up to a step, decide and turn: the second half of :meth:`observe`.

        For a loop that gathers by itself; whether a reading is due is its own affair.
        """
        self.step, self.images = step, images
        ideal = self.rules.ideal(self.knobs) if self.rules.ideal else None
        reading = sensing.sense(window, self._readings(), ideal)
        health, self._history = diagnose(self._history, step, min(1.0, step / self.steps), reading.signals)
        seen = self._seen(step, reading.signals, health, self.wish)
        turned, remedy = self.decide(seen), None
        if self.care is not None:
            remedy, self._chart = prescribe(self.care, self._case, self._chart, health, self.wish, step)
        if remedy is not None:
            turned += self.hold(remedy.overrides, step, remedy.finding.symptom)
        restored = self._kept_or_put_back(seen, remedy)
        return Decision(reading.loss, seen, turned, remedy, restored, self._reward)

    def decide(self, seen: Observation[Any]) -> tuple[KnobChange, ...]:
        """Let the controller decide on an observation, and turn what its wish, the ranges and the overrides come to."""
        turn = self.controller.update(self._memory, seen)
        self._memory, self._reward = turn.state, turn.reward
        released = self._turn(treated(self._chart, self.wish, seen.step), {}, REPAIR, "what held it has expired")
        self.wish = self.wish.clamped(turn.knobs)
        return released + self._turn(treated(self._chart, self.wish, seen.step), turn.why, self.name)

    def hold(self, overrides: Sequence[Override], step: int, why: str) -> tuple[KnobChange, ...]:
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
        return self._window.tensors(), {
            "knobs": self.knobs.values(),
            "wish": self.wish.values(),
            "chart": remedies.to_plain(self._chart),
            "controller": dict(self._memory),
            "identity": identity(self.controller),
            "metrics": {name: list(known) for name, known in self._metrics.items()},
            "history": to_plain(self._history),
            "phases": {name: [list(t.names), list(t.counts)] for name, t in self._window.phases.items()},
            "settings": steering.settings(self.optimizers),
            "following": self._following,
        }

    def restore(self, step: int, images: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave. A loop with a `rollback` loads its own checkpoint first.

        Every group of the optimizers is set as it was then: what a scheduler of torch had made of a learning rate, and
        the ratio of a second group to the first, neither of which follows from the knobs. Raises SettingError for
        another controller, or optimizers with other groups.
        """
        if "identity" in values:  # older states have none
            check_same(values["identity"], self.controller)
        self.step, self.images = step, images
        self.knobs = self.base.with_values(values["knobs"])
        self.wish, self._chart = self.base.with_values(values["wish"]), remedies.from_plain(values["chart"])
        self._memory = values["controller"]
        self._metrics = {name: (value, at, better) for name, (value, at, better) in values["metrics"].items()}
        self._history = from_plain(values["history"])
        self._window = Window.of(tensors, values["phases"])
        steering.put_back(self.optimizers, values.get("settings", {}))  # older states of runs without optimizers
        self._following, self._watch = values.get("following", self._following), Watch(self.optimizers)
        if self._snapshots:
            self._snapshots = Snapshots(self._snapshots.rollback, step)

    def _seen(self, step: int, signals: Signals, health: Health, knobs: Knobs) -> Observation[Any]:
        return Observation(step, min(1.0, step / self.steps), signals, health, knobs, self.acting)

    def _kept_or_put_back(self, seen: Observation[Any], remedy: Remedy | None) -> int | None:
        """Keep a healthy loop of one's own, put a sick one back: the step that it was put back to, None if it was not.

        Its learning rates and betas stay as they were turned, whatever its own `restore` does to them.
        """
        if self._snapshots is None:
            return None
        if remedy is None or not remedy.restore:
            if seen.health.verdict == "healthy":
                self._snapshots.keep(seen.step)
            return None
        settings = steering.settings(self.optimizers)
        restored = self._snapshots.go_back(remedy.newest, remedy.oldest)
        steering.put_back(self.optimizers, settings)
        if restored is not None:
            self.rolled_back(seen.step - restored)
        return restored

    def _turn(self, knobs: Knobs, why: Mapping[str, str], by: str, otherwise: str = "") -> tuple[KnobChange, ...]:
        changes = self.knobs.differences(knobs)
        self.knobs = knobs
        steering.write(self.optimizers, changes, self._following)
        self._watch.turned()
        return tuple(KnobChange(name, *pair, why.get(name, otherwise), by) for name, pair in changes.items())

    def _readings(self) -> dict[str, MetricReading]:
        known = self._metrics.items()
        return {name: MetricReading(value, self.images - at, better) for name, (value, at, better) in known}


def _clamped(knobs: Knobs) -> dict[str, float]:
    return {name: range.clamp(getattr(knobs, name)) for name, range in knobs.ranges().items()}
