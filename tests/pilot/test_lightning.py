"""The Lightning callback in real fits: what it reads, what it changes, and resuming from a checkpoint."""

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from equipoise.controllers.annealed import Annealed
from equipoise.errors import SettingError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # from its dependencies
    import lightning.pytorch as pl

from equipoise.pilot.lightning import PilotCallback
from equipoise.pilot.pilot import ModelInfo

pytestmark = pytest.mark.filterwarnings("ignore")
FALLING = Annealed(factors={"lr_g": "linear(1, 0.1)", "lr_d": "linear(1, 0.2)"})


class Game(pl.LightningModule):
    """Two networks on points, manual optimization; in batch `corrupt` the weights of the generator become NaN."""

    def __init__(self, corrupt: int | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        torch.manual_seed(0)
        self.generator, self.discriminator = nn.Linear(2, 2), nn.Linear(2, 1)
        self.corrupt, self.rates = corrupt, []

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        players = (self.generator, 1e-3), (self.discriminator, 4e-3)
        return [torch.optim.Adam(player.parameters(), lr=lr, betas=(0.5, 0.9)) for player, lr in players]

    def training_step(self, batch: list[Tensor], index: int) -> dict[str, Tensor]:
        if index == self.corrupt:
            with torch.no_grad():
                self.generator.weight.fill_(torch.nan)
        (real,) = batch
        opt_g, opt_d = self.optimizers()
        self.rates.append((opt_g.param_groups[0]["lr"], opt_d.param_groups[0]["lr"]))
        fake = self.generator(torch.ones_like(real))
        logit_real, logit_fake = self.discriminator(real), self.discriminator(fake.detach())
        loss_d = softplus(-logit_real).mean() + softplus(logit_fake).mean()
        self.update(opt_d, loss_d)
        loss_g = softplus(-self.discriminator(fake)).mean()
        self.update(opt_g, loss_g)
        self.log("loss_g", loss_g)
        return {"loss_d": loss_d, "logit_real": logit_real, "logit_fake": logit_fake}

    def update(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


class Single(Game):
    """The generator alone, with automatic optimization."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = True

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.generator.parameters(), lr=1e-3)

    def training_step(self, batch: list[Tensor], index: int) -> dict[str, Tensor]:
        loss = softplus(-self.discriminator(self.generator(batch[0]))).mean()
        return {"loss": loss, "loss_g": loss.detach()}


def fit(game: pl.LightningModule, callback: PilotCallback, folder: Path, epochs: int = 2, **options: Any) -> Any:
    data = torch.utils.data.TensorDataset(torch.randn(80, 2, generator=torch.Generator().manual_seed(1)) + 2)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    checkpoints = options.pop("ckpt_path", None)
    trainer = pl.Trainer(
        max_epochs=epochs,
        callbacks=[callback],
        default_root_dir=folder,
        **{**quiet, "enable_checkpointing": False},
        **options,
    )
    trainer.fit(game, torch.utils.data.DataLoader(data, batch_size=8), ckpt_path=checkpoints)
    return trainer


def test_every_batch_is_read_and_both_rates_change(tmp_path: Path) -> None:
    game, callback = Game(), PilotCallback(FALLING, model_info=ModelInfo(probability=torch.sigmoid))
    fit(game, callback, tmp_path)
    pilot = callback.pilot
    assert pilot is not None
    assert (pilot.step, pilot.settings.steps, pilot.images) == (20, 20, 160)
    expected = [(1e-3 * (1 - 0.9 * n / 20), 4e-3 * (1 - 0.8 * n / 20)) for n in range(20)]
    assert game.rates == [pytest.approx(pair) for pair in expected]
    assert callback.decision is not None
    signals = callback.decision.observation.signals
    missing = [
        name
        for name in ("loss_g", "loss_d", "rank_train_fake", "probability_real", "gradient_norm_g", "gradient_norm_d")
        if getattr(signals, name) is None
    ]
    assert missing == []


def test_players_name_the_optimizers(tmp_path: Path) -> None:
    callback = PilotCallback(Annealed(factors={"lr_g": "linear(1, 0.1)"}), players=("generator",))
    trainer = fit(Single(), callback, tmp_path)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-4)
    assert callback.decision is not None
    assert callback.decision.observation.signals.loss_g is not None
    with pytest.raises(
        SettingError, match="configure_optimizers returns 1 optimizers, but the players are generator and discriminator"
    ):
        fit(Single(), PilotCallback(), tmp_path)


def test_a_diverged_fit_is_rolled_back(tmp_path: Path) -> None:
    game = Game(corrupt=7)
    callback = PilotCallback(repair=True)
    fit(game, callback, tmp_path, epochs=1)
    assert callback.pilot is not None
    assert all(weight.isfinite().all() for weight in game.parameters())
    assert game.rates[-1] == (5e-4, 2e-3), "slowed by the remedy"
    broken = Game(corrupt=7)
    fit(broken, PilotCallback(), tmp_path, epochs=1)
    assert not all(weight.isfinite().all() for weight in broken.parameters())


def test_a_fit_resumes_from_a_checkpoint(tmp_path: Path) -> None:
    uninterrupted, first, second = Game(), Game(), Game()
    long = PilotCallback(FALLING, steps=30)
    fit(uninterrupted, long, tmp_path, epochs=3)
    trainer = fit(first, PilotCallback(FALLING, steps=30), tmp_path, epochs=1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    resumed = PilotCallback(FALLING, steps=30)
    fit(second, resumed, tmp_path, epochs=3, ckpt_path=tmp_path / "one.ckpt")
    assert second.rates == uninterrupted.rates[10:]
    assert long.pilot is not None
    assert resumed.pilot is not None
    assert resumed.pilot.state()[1] == long.pilot.state()[1]
    for resumed_weight, weight in zip(second.parameters(), uninterrupted.parameters(), strict=True):
        assert torch.equal(resumed_weight, weight)


class Scheduled(Game):
    """The same, with torch schedulers that divide both rates by ten after the first epoch."""

    def configure_optimizers(self) -> Any:
        optimizers = super().configure_optimizers()
        return optimizers, [torch.optim.lr_scheduler.StepLR(one, 1, gamma=0.1) for one in optimizers]

    def on_train_epoch_end(self) -> None:
        if self.current_epoch == 0:
            for scheduler in self.lr_schedulers():
                scheduler.step()


def test_resuming_keeps_the_rates_of_schedulers(tmp_path: Path) -> None:
    uninterrupted, first, second = Scheduled(), Scheduled(), Scheduled()
    fit(uninterrupted, PilotCallback("rank", steps=30), tmp_path, epochs=3)
    trainer = fit(first, PilotCallback("rank", steps=30), tmp_path, epochs=2)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    fit(second, PilotCallback("rank", steps=30), tmp_path, epochs=3, ckpt_path=tmp_path / "two.ckpt")
    assert uninterrupted.rates[0] > uninterrupted.rates[20], "a tenth, moved by the controller"
    assert second.rates == uninterrupted.rates[20:]


def test_the_length_of_the_fit_counts_batches(tmp_path: Path) -> None:
    callback = PilotCallback()
    fit(Game(), callback, tmp_path, epochs=5, max_steps=24)
    assert callback.pilot is not None
    assert (callback.pilot.settings.steps, callback.pilot.step) == (12, 12), "Lightning counts both optimizers"
    with pytest.raises(
        SettingError, match=r"the length of the fit is unknown; pass it in batches: PilotCallback\(steps=…\)"
    ):
        fit(Game(), PilotCallback(), tmp_path, epochs=-1)


def test_accumulated_batches_are_counted(tmp_path: Path) -> None:
    """Ten batches per epoch, four per step: 4 + 4 + 2."""
    callback = PilotCallback(players=("generator",))
    fit(Single(), callback, tmp_path, epochs=9, max_steps=6, accumulate_grad_batches=4)
    assert callback.pilot is not None
    assert (callback.pilot.settings.steps, callback.pilot.step) == (20, 20)


def test_several_devices_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.Trainer, "world_size", 2)
    with pytest.raises(SettingError, match=r"the fit runs on 2 devices.*; use Trainer\(dev"):
        fit(Game(), PilotCallback("rank"), tmp_path)


def test_missing_lightning_is_reported_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import equipoise

    monkeypatch.delitem(sys.modules, "equipoise.pilot.lightning")
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    with pytest.raises(
        SettingError, match=r"lightning is not installed; install it with: pip install 'equipoise\[light"
    ):
        _ = equipoise.PilotCallback
