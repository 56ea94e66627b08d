"""The Lightning callback beside real fits: what it reads, what it turns, and that it goes on from a checkpoint."""

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
    warnings.simplefilter("ignore")  # of its dependencies
    import lightning.pytorch as pl

from equipoise.pilot.lightning import PilotCallback
from equipoise.pilot.pilot import ModelInfo

pytestmark = pytest.mark.filterwarnings("ignore")
FALLING = Annealed(factors={"lr_g": "linear(1, 0.1)", "lr_d": "linear(1, 0.2)"})


class Game(pl.LightningModule):
    """Points against points, two optimizers by hand; in batch `spoilt` the generator's weights become no numbers."""

    def __init__(self, spoilt: int | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        torch.manual_seed(0)
        self.generator, self.discriminator = nn.Linear(2, 2), nn.Linear(2, 1)
        self.spoilt, self.rates = spoilt, []

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        players = (self.generator, 1e-3), (self.discriminator, 4e-3)
        return [torch.optim.Adam(player.parameters(), lr=lr, betas=(0.5, 0.9)) for player, lr in players]

    def training_step(self, batch: list[Tensor], index: int) -> dict[str, Tensor]:
        if index == self.spoilt:
            with torch.no_grad():
                self.generator.weight.fill_(torch.nan)
        (real,) = batch
        opt_g, opt_d = self.optimizers()
        self.rates.append((opt_g.param_groups[0]["lr"], opt_d.param_groups[0]["lr"]))
        fake = self.generator(torch.ones_like(real))
        logit_real, logit_fake = self.discriminator(real), self.discriminator(fake.detach())
        loss_d = softplus(-logit_real).mean() + softplus(logit_fake).mean()
        self.moved(opt_d, loss_d)
        loss_g = softplus(-self.discriminator(fake)).mean()
        self.moved(opt_g, loss_g)
        self.log("loss_g", loss_g)
        return {"loss_d": loss_d, "logit_real": logit_real, "logit_fake": logit_fake}

    def moved(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


class Single(Game):
    """The generator alone, by automatic optimization."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = True

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.generator.parameters(), lr=1e-3)

    def training_step(self, batch: list[Tensor], index: int) -> dict[str, Tensor]:
        loss = softplus(-self.discriminator(self.generator(batch[0]))).mean()
        return {"loss": loss, "loss_g": loss.detach()}


def fitted(game: pl.LightningModule, callback: PilotCallback, folder: Path, epochs: int = 2, **options: Any) -> Any:
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


def test_every_batch_is_read_and_both_rates_are_turned(tmp_path: Path) -> None:
    game, callback = Game(), PilotCallback(FALLING, rules=ModelInfo(probability=torch.sigmoid))
    fitted(game, callback, tmp_path)
    pilot = callback.pilot
    assert pilot is not None
    assert (pilot.step, pilot.steps, pilot.images) == (20, 20, 160)
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


def test_with_one_optimizer_it_is_told_whose_that_is(tmp_path: Path) -> None:
    callback = PilotCallback(Annealed(factors={"lr_g": "linear(1, 0.1)"}), players=("generator",))
    trainer = fitted(Single(), callback, tmp_path)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-4)
    assert callback.decision is not None
    assert callback.decision.observation.signals.loss_g is not None
    with pytest.raises(SettingError, match="configure_optimizers gives 1, for generator and discriminator; say whose"):
        fitted(Single(), PilotCallback(), tmp_path)


def test_a_fit_that_broke_is_put_back(tmp_path: Path) -> None:
    game = Game(spoilt=7)
    callback = PilotCallback(repair=True)
    fitted(game, callback, tmp_path, epochs=1)
    assert callback.pilot is not None
    assert all(weight.isfinite().all() for weight in game.parameters())
    assert game.rates[-1] == (5e-4, 2e-3), "slowed by the remedy"
    broken = Game(spoilt=7)
    fitted(broken, PilotCallback(), tmp_path, epochs=1)
    assert not all(weight.isfinite().all() for weight in broken.parameters())


def test_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    whole, first, second = Game(), Game(), Game()
    long = PilotCallback(FALLING, steps=30)
    fitted(whole, long, tmp_path, epochs=3)
    trainer = fitted(first, PilotCallback(FALLING, steps=30), tmp_path, epochs=1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    resumed = PilotCallback(FALLING, steps=30)
    fitted(second, resumed, tmp_path, epochs=3, ckpt_path=tmp_path / "one.ckpt")
    assert second.rates == whole.rates[10:]
    assert long.pilot is not None
    assert resumed.pilot is not None
    assert resumed.pilot.state()[1] == long.pilot.state()[1]
    for mine, theirs in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)


class Scheduled(Game):
    """The same with a tenth of both rates after the first epoch, by torch's own schedulers."""

    def configure_optimizers(self) -> Any:
        optimizers = super().configure_optimizers()
        return optimizers, [torch.optim.lr_scheduler.StepLR(one, 1, gamma=0.1) for one in optimizers]

    def on_train_epoch_end(self) -> None:
        if self.current_epoch == 0:
            for scheduler in self.lr_schedulers():
                scheduler.step()


def test_going_on_from_a_checkpoint_leaves_what_schedulers_have_done(tmp_path: Path) -> None:
    whole, first, second = Scheduled(), Scheduled(), Scheduled()
    fitted(whole, PilotCallback("rank", steps=30), tmp_path, epochs=3)
    trainer = fitted(first, PilotCallback("rank", steps=30), tmp_path, epochs=2)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    fitted(second, PilotCallback("rank", steps=30), tmp_path, epochs=3, ckpt_path=tmp_path / "two.ckpt")
    assert whole.rates[0] > whole.rates[20], "a tenth, moved by the controller"
    assert second.rates == whole.rates[20:]


def test_the_length_of_the_fit_counts_batches(tmp_path: Path) -> None:
    callback = PilotCallback()
    fitted(Game(), callback, tmp_path, epochs=5, max_steps=24)
    assert callback.pilot is not None
    assert (callback.pilot.steps, callback.pilot.step) == (12, 12), "Lightning counts both optimizers"
    with pytest.raises(SettingError, match=r"how long the fit is cannot be told; give PilotCallback\(steps=…\)"):
        fitted(Game(), PilotCallback(), tmp_path, epochs=-1)


def test_batches_whose_gradients_are_gathered_are_counted(tmp_path: Path) -> None:
    """Ten batches an epoch, four a step: 4 + 4 + 2."""
    callback = PilotCallback(players=("generator",))
    fitted(Single(), callback, tmp_path, epochs=9, max_steps=6, accumulate_grad_batches=4)
    assert callback.pilot is not None
    assert (callback.pilot.steps, callback.pilot.step) == (20, 20)


def test_several_devices_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.Trainer, "world_size", 2)
    with pytest.raises(
        SettingError, match=r"the fit runs on 2 devices, each with logits of its own.*; use Trainer\(dev"
    ):
        fitted(Game(), PilotCallback("rank"), tmp_path)


def test_without_lightning_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import equipoise

    monkeypatch.delitem(sys.modules, "equipoise.pilot.lightning")
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    with pytest.raises(
        SettingError, match=r"lightning is not installed; install it with: pip install 'equipoise\[light"
    ):
        _ = equipoise.PilotCallback
