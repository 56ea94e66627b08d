"""Pilot for PyTorch Lightning: a callback that reads the output of training_step and changes the optimizers.

    trainer = Trainer(callbacks=[PilotCallback("rank")], max_epochs=5)

`training_step` returns (or logs) any of loss_g, loss_d, logit_real, logit_fake, logit_held_out, real and fake, as
described in :meth:`equipoise.pilot.pilot.Pilot.observe`. Lightning needs manual optimization for two optimizers; with
automatic optimization there is one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, cast

from torch import Tensor
from torch.optim import Optimizer

from equipoise.core.controller import AnyController
from equipoise.core.knobs import Knobs
from equipoise.errors import SettingError
from equipoise.pilot.pilot import Pilot
from equipoise.pilot.snapshots import Rollback
from equipoise.pilot.step import Decision

try:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback
except ModuleNotFoundError as error:
    raise SettingError("lightning is not installed; install it with: pip install 'equipoise[lightning]'") from error

OUTPUTS = ("loss_g", "loss_d", "logit_real", "logit_fake", "logit_held_out", "real", "fake")
PlayerName = Literal["generator", "discriminator"]


class SavedCallback(TypedDict, total=False):
    """The state of the callback in a checkpoint; empty before the fit starts."""

    step: int
    images: int
    base: dict[str, float]
    tensors: dict[str, Tensor]
    values: dict[str, object]


class PilotCallback(Callback):
    """Callback that observes every batch of the fit and changes the optimizers. Checkpoints include its state."""

    def __init__(
        self,
        controller: str | AnyController = "fixed",
        *,
        players: Sequence[PlayerName] = ("generator", "discriminator"),
        repair: bool = False,
        steps: int | None = None,
        **options: Any,
    ) -> None:
        """Create the callback.

        `players`: the player of each optimizer of configure_optimizers, in order. `repair`: repair an unhealthy run by
        knob changes, and by rollbacks to copies of weights and optimizers in memory. `steps`: number of batches of the
        fit; default: from the trainer. `options`: other arguments of Pilot, such as `model_info`.

        The start of the fit raises SettingError if the numbers of optimizers and players differ.
        """
        self.controller, self.players, self.repair, self.steps = controller, tuple(players), repair, steps
        self.options = options
        self.pilot: Pilot | None = None
        self.decision: Decision | None = None
        self._saved: SavedCallback | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Create the pilot, restored if the fit resumes from a checkpoint. Raises SettingError on several devices."""
        if trainer.world_size > 1:
            raise SettingError(
                f"the fit runs on {trainer.world_size} devices, each with its own logits, so that their pilots would "
                "diverge; use Trainer(devices=1)"
            )
        optimizers = _optimizers(trainer, self.players)
        saved, self._saved = self._saved, None
        options: dict[str, Any] = {"rollback": Rollback.of(pl_module, *optimizers.values())} if self.repair else {}
        options |= self.options
        if saved:
            knobs = options.get("knobs", Knobs)
            options["knobs"] = (knobs() if isinstance(knobs, type) else knobs).with_values(saved["base"])
        steps = self.steps or _count_batches(trainer, len(optimizers))
        self.pilot = Pilot(self.controller, steps=steps, optimizers=optimizers, **options)
        if saved:
            self.pilot.restore(saved["step"], saved["images"], saved["tensors"], saved["values"])
        self.pilot.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Pass the output of training_step and logged losses of one step to the pilot."""
        assert self.pilot is not None, "on_train_start comes first"
        values: dict[str, Any] = {
            name: value for name, value in trainer.callback_metrics.items() if name in ("loss_g", "loss_d")
        }
        if isinstance(outputs, Mapping):
            values |= {name: outputs[name] for name in OUTPUTS if outputs.get(name) is not None}
        self.decision = self.pilot.observe(**values)

    def state_dict(self) -> dict[str, object]:
        """Return the state of the pilot."""
        if self.pilot is None:
            return {}
        tensors, values = self.pilot.state()
        progress = {"step": self.pilot.step, "images": self.pilot.images, "base": self.pilot.base.values()}
        return {**progress, "tensors": tensors, "values": values}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Store the state until the start of the fit, when the optimizers exist."""
        self._saved = cast(SavedCallback, state_dict) or None


def _optimizers(trainer: Trainer, players: Sequence[PlayerName]) -> dict[str, Optimizer]:
    """Return the optimizers of the fit by player."""
    if len(trainer.optimizers) != len(players):
        raise SettingError(
            f"configure_optimizers returns {len(trainer.optimizers)} optimizers, but the players are "
            f"{' and '.join(players)}; pass the player of each: PilotCallback(players=('generator', 'discriminator'))"
        )
    return dict(zip(players, trainer.optimizers, strict=True))


def _count_batches(trainer: Trainer, optimizers: int) -> int:
    """Return the number of batches of the fit.

    With max_steps Lightning counts optimizer steps: one per batch and optimizer, or one per several batches with
    accumulated gradients; the remaining batches at the end of an epoch give one more step.
    """
    per_epoch, epochs = trainer.num_training_batches, trainer.max_epochs
    per_step: float = trainer.accumulate_grad_batches
    if math.isfinite(per_epoch):
        per_step = per_epoch / math.ceil(per_epoch / per_step)
    counts = [trainer.max_steps * per_step / optimizers if trainer.max_steps > 0 else math.inf]
    counts.append(per_epoch * epochs if epochs is not None and epochs > 0 else math.inf)
    least = min(counts)
    if not math.isfinite(least):
        raise SettingError("the length of the fit is unknown; pass it in batches: PilotCallback(steps=…)")
    return max(1, round(least))
