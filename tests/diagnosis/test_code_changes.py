"""Every line of code that a symptom recommends runs in a small training loop."""

import copy
import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from equipoise.diagnosis import code_changes
from equipoise.diagnosis.symptom import CodeChange
from equipoise.diagnosis.symptoms import SYMPTOMS

SHARED = {name: value for name, value in vars(code_changes).items() if isinstance(value, CodeChange)}
OWN = {
    f"{symptom.id} {number}": change
    for symptom in SYMPTOMS.values()
    for number, change in enumerate(symptom.loop_advice, start=1)
    if change not in SHARED.values()
}
CHANGES = SHARED | OWN


@pytest.fixture
def loop() -> dict[str, object]:
    """Return the names of a training loop of two small networks after the computation of the losses."""
    torch.manual_seed(0)
    g = nn.Sequential(nn.ConvTranspose2d(4, 3, 8), nn.Tanh())
    d = nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 4), nn.Flatten())
    z, real = torch.randn(5, 4, 1, 1), torch.rand(5, 3, 8, 8) * 2 - 1
    fake = g(z).detach()

    def compute_loss_d(batch: Tensor) -> Tensor:
        return nn.functional.softplus(-d(batch)).mean() + nn.functional.softplus(d(fake)).mean()

    loss_d = compute_loss_d(real)
    compute_loss_d(real).backward()
    return {
        **{"torch": torch, "g": g, "d": d, "z": z, "fixed_z": z, "real": real, "fake": fake},
        **{"optimizer_d": torch.optim.Adam(d.parameters(), 2e-4, (0.5, 0.999))},
        **{"optimizer_g": torch.optim.Adam(g.parameters(), 2e-4, (0.5, 0.999))},
        **{"loss_d": loss_d, "loss_g": nn.functional.softplus(-d(g(z))).mean(), "compute_loss_d": compute_loss_d},
        **{"step": 10, "total_steps": 100, "epochs_left": 3, "fid": 20.0, "best_fid": 30.0},
        **{"features": torch.randn(5, 4, 2, 2), "batches": itertools.repeat(real), "training_images": real},
    }


@pytest.mark.parametrize("name", CHANGES)
def test_code_runs_in_a_training_loop(name: str, loop: dict[str, object], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    change = CHANGES[name]
    if "torchvision" in change.code:
        loop["torchvision"] = pytest.importorskip("torchvision")
        __import__("torchvision.utils")
    exec(compile(change.code, name, "exec"), loop)
    assert not change.action.endswith(".")
    assert change.action[0].isupper()
    assert len([line for line in change.code.splitlines() if line]) <= 8
    assert max(map(len, change.code.splitlines())) <= 112


def test_every_symptom_has_code() -> None:
    for symptom in SYMPTOMS.values():
        assert symptom.loop_advice
        for change in symptom.loop_advice:
            compile(change.code, symptom.id, "exec")


def test_learning_rates_and_momentum_change_as_the_text_says(loop: dict[str, object]) -> None:
    optimizer_d, optimizer_g = loop["optimizer_d"], loop["optimizer_g"]
    exec(code_changes.QUARTER_LR_OF_D.code, loop)
    exec(code_changes.HALVE_LR_OF_G.code, loop)
    exec(code_changes.LESS_MOMENTUM.code, loop)
    assert optimizer_d.param_groups[0]["lr"] == pytest.approx(5e-5)
    assert optimizer_g.param_groups[0]["lr"] == pytest.approx(1e-4)
    assert optimizer_d.param_groups[0]["betas"] == (0.0, 0.999)


def test_r1_penalty_is_half_gamma_times_the_squared_gradient_norm(loop: dict[str, object]) -> None:
    without, real, d = loop["loss_d"], loop["real"].clone().requires_grad_(), copy.deepcopy(loop["d"])
    norms = torch.autograd.grad(d(real).sum(), real)[0].flatten(1).norm(dim=1)
    exec(code_changes.ADD_R1.code, loop)
    assert (loop["loss_d"] - without).item() == pytest.approx(5 * norms.square().mean().item(), rel=1e-5)
    loop["loss_d"].backward()


def test_augmentation_is_differentiable(loop: dict[str, object]) -> None:
    loop["fake"] = loop["fake"].requires_grad_()
    exec(code_changes.AUGMENT.code, loop)
    loop["logit_fake"].sum().backward()
    assert loop["fake"].grad.abs().sum() > 0


def test_stop_at_nan_stops(loop: dict[str, object]) -> None:
    loop["loss_g"] = torch.tensor(float("nan"))
    with pytest.raises(FloatingPointError, match="step 10"):
        exec(code_changes.STOP_AT_NAN.code, loop)


def test_spectral_norm_bounds_the_layers(loop: dict[str, object]) -> None:
    exec(code_changes.SPECTRAL_NORM.code, loop)
    loop["d"].train()
    for _ in range(30):
        loop["d"](loop["real"])
    weight = loop["d"][0].weight.detach().flatten(1)
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1.0, abs=0.05)
