"""Knobs of labels: targets of the losses of the discriminator."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from equipoise.losses import adversarial
from equipoise.losses.adversarial import LOSSES


def by_hand(logit: Tensor, label: float | Tensor) -> Tensor:
    """Compute -t log sigma(d) - (1 - t) log(1 - sigma(d)), without softplus."""
    d = logit.double()
    return -(label * d.sigmoid().log() + (1 - label) * (1 - d.sigmoid()).log()).mean()


@pytest.mark.parametrize("loss", ["minimax", "non_saturating"])
@pytest.mark.parametrize(("real", "fake"), [(1.0, 0.0), (0.9, 0.0), (0.9, 0.1), (1.2, 0.5), (0.0, 0.0)])
def test_labels_enter_the_cross_entropy(create_plain, loss: str, real: float, fake: float) -> None:
    """One-sided smoothing changes the label of reals, two-sided smoothing both."""
    trainer = create_plain(loss=loss)
    ends = {"real_label_low": real, "real_label_high": real, "fake_label_low": fake, "fake_label_high": fake}
    result = trainer.loss("discriminator", **ends)
    expected = by_hand(result.logit_real, real) + by_hand(result.logit_fake, fake)
    torch.testing.assert_close(result.total.double(), expected, rtol=1e-5, atol=1e-6)


def test_label_smoothing_adds_a_multiple_of_the_real_logit(plain) -> None:
    """softplus(d) - softplus(-d) = d, so a label of t changes the loss by (1 - t) E D(x)."""
    hard = plain.loss("discriminator")
    soft = plain.loss("discriminator", real_label_low=0.9, real_label_high=0.9)
    torch.testing.assert_close(soft.total - hard.total, 0.1 * hard.logit_real.mean(), rtol=1e-3, atol=1e-6)
    assert soft.total != hard.total


def test_labels_are_the_targets_of_least_squares(create_plain) -> None:
    trainer = create_plain(loss="least_squares")
    result = trainer.loss(
        "discriminator", real_label_low=0.8, real_label_high=0.8, fake_label_high=0.3, fake_label_low=0.3
    )
    expected = (result.logit_real - 0.8).square().mean() / 2 + (result.logit_fake - 0.3).square().mean() / 2
    torch.testing.assert_close(result.total, expected)


@pytest.mark.parametrize("batch", [64])
def test_labels_are_uniform_per_sample(create_plain, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    calls: list[tuple[Tensor, ...]] = []
    original = adversarial.LOSSES["non_saturating"]

    def spy(*args: Tensor) -> Tensor:
        calls.append(args)
        return original.discriminator(*args)

    monkeypatch.setitem(adversarial.LOSSES, "non_saturating", dataclasses.replace(original, discriminator=spy))
    trainer = create_plain(batch=batch)
    ends = {"real_label_low": 0.7, "real_label_high": 1.2, "fake_label_low": 0.1, "fake_label_high": 0.3}
    result = trainer.loss("discriminator", **ends)
    real_logit, fake_logit, real_label, fake_label = calls[0]
    for label, low, high in ((real_label, 0.7, 1.2), (fake_label, 0.1, 0.3)):
        assert label.shape == (batch,)
        assert low <= label.min() < low + 0.2 * (high - low)
        assert high - 0.2 * (high - low) < label.max() <= high
        assert len(label.unique()) > batch // 2
    expected = (real_label * softplus(-real_logit) + (1 - real_label) * softplus(real_logit)).mean()
    expected = expected + (fake_label * softplus(-fake_logit) + (1 - fake_label) * softplus(fake_logit)).mean()
    torch.testing.assert_close(result.total, expected)


@pytest.mark.parametrize("side", ["real", "fake"])
def test_lowest_label_can_exceed_the_highest(plain, side: str) -> None:
    """The interval is the same, so that a controller can change both independently."""
    ends = {f"{side}_label_low": 0.4, f"{side}_label_high": 0.2}
    logit = plain.loss("discriminator").logit_real if side == "real" else plain.loss("discriminator").logit_fake
    least, most = sorted(by_hand(logit, label).item() for label in (0.2, 0.4))
    other = {"real": ("fake", 0.0), "fake": ("real", 1.0)}[side]
    rest = plain.loss("discriminator")
    result = plain.loss("discriminator", **ends).total.item()
    other_loss = by_hand(rest.logit_fake if other[0] == "fake" else rest.logit_real, other[1]).item()
    assert least - 1e-6 <= result - other_loss <= most + 1e-6


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if not loss.has_labels])
def test_labels_are_not_turnable_if_the_loss_has_none(create_plain, loss: str) -> None:
    turnable = create_plain(loss=loss).model.turnable
    assert turnable.isdisjoint({"real_label_low", "real_label_high", "fake_label_low", "fake_label_high"})
    assert create_plain(loss="least_squares").model.turnable > turnable
