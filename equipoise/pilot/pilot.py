"""The adapter between a training loop and the pure step of :mod:`equipoise.pilot.step`.

The training loop of this package uses it, and so can any other loop:

    pilot = Pilot("annealed", optimizers={"generator": opt_g, "discriminator": opt_d}, steps=10_000)
    pilot.start()
    for batch in loader:
        ...                                     # forward, backward and step, unchanged
        pilot.observe(loss_g=loss_g, loss_d=loss_d, logit_real=real, logit_fake=fake)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer

from equipoise.core import catalog, validation
from equipoise.core.controller import AnyController
from equipoise.core.knobs import Knobs, check_turnable
from equipoise.core.model import Model, StepRecord
from equipoise.core.observations import Observation, Override, Remedy
from equipoise.diagnosis.remedies import RepairSettings, is_restorable
from equipoise.diagnosis.signals import SignalWindow, accumulate
from equipoise.pilot import optimizers as torch_optimizers
from equipoise.pilot.conflicts import LearningRateConflicts
from equipoise.pilot.inputs import Number, step_record
from equipoise.pilot.snapshots import Rollback, Snapshots
from equipoise.pilot.state import MetricValue, SavedPilot, controller_name, load_state, save_state
from equipoise.pilot.step import (
    Decision,
    IdealLoss,
    KnobChange,
    PilotInput,
    PilotSettings,
    add_overrides,
    after_rollback,
    decide,
    initial_state,
    pilot_step,
    set_manual,
)

SENSE_EVERY = 50
"""Default number of steps between two readings. Each of the first DENSE_STEPS steps is read, because most failures
start there."""
DENSE_STEPS = 100


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Information about the model of a loop; None for unknown parts.

    `turnable`: names of the knobs that have an effect; default: those of the optimizers. `probability`: maps logits to
    D(x) in [0, 1], of the same shape, if the loss makes them log-odds. `ideal`: knobs -> the adversarial loss of the
    discriminator for perfect fakes, which gap_aware needs. `published`: the knobs of the model's paper, to which
    repair resets knobs of the user that are far from them; default: the knobs of the user.
    """

    turnable: frozenset[str] | None = None
    probability: Callable[[Tensor], Tensor] | None = None
    ideal: IdealLoss | None = None
    published: Knobs | None = None

    @classmethod
    def of(cls, model: Model[Any]) -> "ModelInfo":
        """Return the information of a model of this package."""
        return cls(model.turnable, model.probability, model.ideal, model.knobs)


class Pilot:
    """Monitor of a training loop that changes its knobs. Mutable; :meth:`state` returns its state.

    The constructor does not change the optimizers: :meth:`start`, or otherwise the first :meth:`observe`, writes the
    first decision of the controller.
    """

    def __init__(
        self,
        controller: str | AnyController = "fixed",
        *,
        steps: int,
        optimizers: Mapping[str, Optimizer] | None = None,
        knobs: Knobs | type[Knobs] = Knobs,
        model_info: ModelInfo = ModelInfo(),
        sense_every: int = SENSE_EVERY,
        repair: RepairSettings | None = None,
        rollback: Rollback | None = None,
    ) -> None:
        """Create a pilot for a run of `steps` steps.

        `controller`: name of a controller, or an instance. `optimizers`: "generator" and "discriminator", whose
        gradients are read and whose settings are written. `knobs`: a class, for its defaults and the current settings
        of the optimizers; or values to which the optimizers are set. `model_info`: information about the model.
        `sense_every`: steps between two readings after the first hundred. `repair`: limits of the repair; default: none
        without `rollback`, RepairSettings() with it. `rollback`: how a custom loop is saved and restored.

        Raises SettingError if the controller requires a knob that has no effect.
        """
        validation.check_at_least(1, steps=steps, sense_every=sense_every)
        self.optimizers, self.model_info = dict(optimizers or {}), model_info
        values = knobs() if isinstance(knobs, type) else knobs
        present = torch_optimizers.with_optimizer_values(values, self.optimizers)
        base = present if isinstance(knobs, type) else values
        self.settings = PilotSettings(
            catalog.build("controllers", controller) if isinstance(controller, str) else controller,
            steps,
            base,
            torch_optimizers.turnable_knobs(self.optimizers, model_info.turnable),
            published=model_info.published or base,
            repair=repair or (RepairSettings() if rollback else None),
            ideal=model_info.ideal,
        )
        self._check_knobs(present.differences(base))
        self.sense_every, self.dense_steps = sense_every, DENSE_STEPS
        self._state, self.initial_changes = initial_state(self.settings, present)
        self.step, self.images, self._has_started = 0, 0, False
        self._window = SignalWindow()
        self._coupled_betas = torch_optimizers.coupled_betas(self.optimizers)
        self._conflicts = LearningRateConflicts(self.optimizers)
        self._snapshots = Snapshots(rollback) if rollback else None

    @property
    def knobs(self) -> Knobs:
        """The effective values of the knobs."""
        return self._state.knobs

    @property
    def target(self) -> Knobs:
        """The values that the controller requests, without the overrides of a repair."""
        return self._state.target

    @property
    def manual(self) -> Mapping[str, float]:
        """The knobs that a person holds, and their values."""
        return self._state.manual

    @property
    def base(self) -> Knobs:
        """The values that the user set."""
        return self.settings.base

    @property
    def turnable(self) -> frozenset[str]:
        """The names of the knobs that have an effect."""
        return self.settings.turnable

    @property
    def controller_state(self) -> object:
        """The state of the controller."""
        return self._state.controller

    @property
    def name(self) -> str:
        """The name of the controller."""
        return controller_name(self.settings.controller)

    @property
    def at_equilibrium(self) -> bool:
        """Whether the discriminator could not tell reals from fakes for a tenth of the run."""
        return "equilibrium" in self._state.history.since

    def start(self) -> None:
        """Write the first decision of the controller to the optimizers; a second call does nothing."""
        if not self._has_started:
            self._has_started = True
            self._write(self.initial_changes)

    def is_due(self, step: int) -> bool:
        """Whether a reading follows step number `step` (the first is 1)."""
        return step <= self.dense_steps or step % self.sense_every == 0

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
        adversarial_share: Number | None = None,
    ) -> Decision | None:
        """Record one step; at a reading, decide and change knobs. Between readings nothing is read from the device.

        A custom loop calls it after backward with losses (one number each), logits (any shape) of the training batch,
        of fakes and of held-out reals, `real` and `fake` samples (N, ...) for sample statistics, and the share of the
        adversarial term in the gradient at the samples, where there is another term. Each may be omitted. Gradients are
        read from the optimizers. Returns None between readings. Raises SettingError for a value of the wrong kind.
        """
        self.start()
        if record is None:
            values: dict[str, Number | None] = {"loss_g": loss_g, "loss_d": loss_d, "logit_real": logit_real}
            values |= {"logit_fake": logit_fake, "logit_held_out": logit_held_out, "real": real, "fake": fake}
            values["adversarial_share"] = adversarial_share
            self._conflicts.check()
            norms = {name: torch_optimizers.gradient_norm(self.optimizers, name) for name in self.optimizers}
            record = step_record(self.step + 1, self.images, values, norms)
        self.step, self.images = record.step, record.images
        self._window = accumulate(self._window, record, self.model_info.probability)
        if not self.is_due(record.step):
            return None
        window, self._window = self._window, SignalWindow()
        return self.read(window, record.step, record.images)

    def read(self, window: SignalWindow, step: int, images: int) -> Decision:
        """Decide and change knobs after a window of steps: the second half of :meth:`observe`.

        For loops that accumulate statistics themselves and decide when a reading is due.
        """
        self.start()
        self.step, self.images = step, images
        self._state, decision = pilot_step(self.settings, self._state, PilotInput(step, images, window))
        self._write(decision.changes)
        return replace(decision, restored=self._save_or_restore(decision.observation, decision.remedy))

    def decide(self, observation: Observation, controller: AnyController | None = None) -> tuple[KnobChange, ...]:
        """Let the controller, or another `controller` with the same state, decide on a given observation."""
        settings = self.settings if controller is None else replace(self.settings, controller=controller)
        self._state, changes, _ = decide(settings, self._state, observation)
        self._write(changes)
        return changes

    def add_overrides(self, overrides: Sequence[Override], reason: str) -> tuple[KnobChange, ...]:
        """Hold knobs at other values than the controller requests, each until its override expires."""
        self._state, changes = add_overrides(self._state, overrides, self.step, reason)
        self._write(changes)
        return changes

    def set_manual(self, knob: str, value: float | None, reason: str = "") -> tuple[KnobChange, ...]:
        """Hold a knob at a value that overrides controller and repair, also across rollbacks; None: release it.

        Raises UnknownNameError for an unknown knob; SettingError if it has no effect, if the value is out of range, and
        for the release of a knob that is not held.
        """
        self._state, changes = set_manual(self.settings, self._state, knob, value, self.step, reason)
        self._write(changes)
        return changes

    def record_rollback(self, lost_steps: int) -> None:
        """Record that weights of `lost_steps` ago were loaded: measurements since then no longer count."""
        self._state, self._window = after_rollback(self._state, lost_steps), SignalWindow()

    def record_range(self, reals: Mapping[str, float]) -> None:
        """Record the range of the first reals, as returned by describe_range: empty if it is usual.

        Without it, the range follows from the `real` and `fake` that :meth:`observe` is given.
        """
        self._state = replace(self._state, history=replace(self._state.history, reals=dict(reals)))

    def record_metric(
        self, metric: str, value: float, images: int, better: Literal["lower", "higher"] = "lower"
    ) -> None:
        """Record the value of a metric, evaluated after `images` reals, and which direction is better."""
        metrics = {**self._state.metrics, metric: MetricValue(value, images, better)}
        self._state = replace(self._state, metrics=metrics)

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Return the state of the pilot: tensors by name, and JSON values."""
        settings = torch_optimizers.settings(self.optimizers)
        saved = save_state(self._state, self.settings.controller, self._window, settings, self._coupled_betas)
        return self._window.tensors(), saved.to_dict()

    def restore(self, step: int, images: int, tensors: Mapping[str, Tensor], values: Mapping[str, object]) -> None:
        """Load a state that :meth:`state` returned. A loop with a `rollback` loads its own checkpoint first.

        The settings of every group of the optimizers are restored, because the factor of a torch scheduler and the
        ratio of a second group do not follow from the knobs. Raises SettingError for another controller, or optimizers
        with other groups.
        """
        saved = SavedPilot.of(values)
        self._state = load_state(saved, self.base, self.settings.controller)
        self.step, self.images, self._has_started = step, images, True
        self._window = SignalWindow.from_tensors(tensors, saved.phases)
        torch_optimizers.restore_settings(self.optimizers, saved.settings)
        self._coupled_betas = saved.coupled_betas or self._coupled_betas
        self._conflicts = LearningRateConflicts(self.optimizers)
        if self._snapshots:
            self._snapshots = Snapshots(self._snapshots.rollback, step)

    def _check_knobs(self, different: Iterable[str]) -> None:
        """Raise SettingError for a knob that must change and cannot.

        `different`: knobs whose value by the user differs from the optimizers.
        """
        required, owner = self.settings.controller.required_knobs(), "this loop"
        torch_optimizers.check_in_range(self.optimizers, sorted({*different, *required}))
        if self.model_info.turnable is not None:
            owner = "this model"
        check_turnable(sorted(required), self.settings.turnable, owner)

    def _write(self, changes: Iterable[KnobChange]) -> None:
        for change in changes:
            pair = {change.knob: (change.before, change.after)}
            torch_optimizers.write(self.optimizers, pair, self._coupled_betas)
        self._conflicts.record_rates()

    def _save_or_restore(self, observation: Observation, remedy: Remedy | None) -> int | None:
        """Save a custom loop without serious findings, roll back an unhealthy one; return the step of the rollback.

        Learning rates and betas keep their current values, even if `restore` of the loop changes them.
        """
        if self._snapshots is None:
            return None
        if remedy is None or not remedy.restore:
            if is_restorable(observation.health):
                self._snapshots.save(observation.step)
            return None
        settings = torch_optimizers.settings(self.optimizers)
        restored = self._snapshots.restore(remedy.newest, remedy.oldest)
        torch_optimizers.restore_settings(self.optimizers, settings)
        if restored is not None:
            self.record_rollback(observation.step - restored)
        return restored
