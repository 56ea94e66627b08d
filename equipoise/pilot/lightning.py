"""A pilot for PyTorch Lightning: a callback that reads what training_step gives back, and turns the optimizers.

    trainer = Trainer(callbacks=[PilotCallback("rank")], max_epochs=5)

`training_step` gives back (or logs) what there is of loss_g, loss_d, logit_real, logit_fake, logit_held_out, real and
fake, as :meth:`equipoise.pilot.pilot.Pilot.observe` takes them. Two optimizers need manual optimization, as Lightning has it;
with automatic optimization there is one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch.optim import Optimizer

from equipoise.core.knobs import Knobs
from equipoise.core.observations import Controller
from equipoise.errors import SettingError
from equipoise.pilot.pilot import Decision, Pilot
from equipoise.pilot.snapshots import Rollback

try:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback
except ModuleNotFoundError as error:
    raise SettingError("lightning is not installed; install it with: pip install 'equipoise[lightning]'") from error

TOLD = ("loss_g", "loss_d", "logit_real", "logit_fake", "logit_held_out", "real", "fake")
Player = Literal["generator", "discriminator"]


class PilotCallback(Callback):
    """Watches every batch of the fit, and turns what the optimizers have. What it remembers goes into checkpoints."""

    def __init__(
        self,
        controller: str | Controller = "fixed",
        *,
        players: Sequence[Player] = ("generator", "discriminator"),
        repair: bool = False,
        steps: int | None = None,
        **options: Any,
    ) -> None:
        """`players`: whose optimizers those of configure_optimizers are, in their order. `repair`: mend a run that
        ails, by knobs and by going back to copies of weights and optimizers in memory. `steps`: batches of the whole
        fit, None for those of the trainer. `options`: others of the pilot, such as `rules` and `care`.

        Raises SettingError at the start of the fit for optimizers that are not as many as the players.
        """
        self.controller, self.players, self.repair, self.steps = controller, tuple(players), repair, steps
        self.options = options
        self.pilot: Pilot | None = None
        self.decision: Decision | None = None
        self._saved: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the optimizers over; go on from a checkpoint if the fit does. Raises SettingError on several devices."""
        if trainer.world_size > 1:
            raise SettingError(
                f"the fit runs on {trainer.world_size} devices, each with logits of its own: their pilots would turn "
                "apart; use Trainer(devices=1)"
            )
        optimizers = _optimizers(trainer, self.players)
        saved, self._saved = self._saved, None
        own: dict[str, Any] = {"rollback": Rollback.of(pl_module, *optimizers.values())} if self.repair else {}
        own |= self.options
        if saved:
            knobs = own.get("knobs", Knobs)
            own["knobs"] = (knobs() if isinstance(knobs, type) else knobs).with_values(saved["base"])
        steps = self.steps or _batches(trainer, len(optimizers))
        self.pilot = Pilot(self.controller, steps=steps, optimizers=optimizers, **own)
        if saved:
            self.pilot.restore(saved["step"], saved["images"], saved["tensors"], saved["values"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One step, told by what training_step gave back, and by what it logged of losses."""
        assert self.pilot is not None, "on_train_start comes first"
        told: dict[str, Any] = {
            name: value for name, value in trainer.callback_metrics.items() if name in ("loss_g", "loss_d")
        }
        if isinstance(outputs, Mapping):
            told |= {name: outputs[name] for name in TOLD if outputs.get(name) is not None}
        self.decision = self.pilot.observe(**told)

    def state_dict(self) -> dict[str, Any]:
        """What the pilot remembers."""
        if self.pilot is None:
            return {}
        tensors, values = self.pilot.state()
        place = {"step": self.pilot.step, "images": self.pilot.images, "base": self.pilot.base.values()}
        return {**place, "tensors": tensors, "values": values}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it once the fit starts, when there are optimizers."""
        self._saved = state_dict or None


def _optimizers(trainer: Trainer, players: Sequence[Player]) -> dict[str, Optimizer]:
    """The optimizers of the fit by whose they are."""
    if len(trainer.optimizers) != len(players):
        raise SettingError(
            f"configure_optimizers gives {len(trainer.optimizers)}, for {' and '.join(players)}; say whose they are: "
            "PilotCallback(players=('generator', 'discriminator'))"
        )
    return dict(zip(players, trainer.optimizers, strict=True))


def _batches(trainer: Trainer, optimizers: int) -> int:
    """Batches of the whole fit. With max_steps Lightning counts steps of optimizers: two a batch, or one in several.

    Where gradients are gathered over batches, those that are left over at the end of an epoch make a step, too.
    """
    each, epochs = trainer.num_training_batches, trainer.max_epochs
    gathered: float = trainer.accumulate_grad_batches
    if math.isfinite(each):
        gathered = each / math.ceil(each / gathered)
    counts = [trainer.max_steps * gathered / optimizers if trainer.max_steps > 0 else math.inf]
    counts.append(each * epochs if epochs is not None and epochs > 0 else math.inf)
    least = min(counts)
    if not math.isfinite(least):
        raise SettingError("how long the fit is cannot be told; give PilotCallback(steps=…), in batches")
    return max(1, round(least))
