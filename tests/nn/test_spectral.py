"""Spectral normalisation: singular values, gradients, and state."""

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from equipoise.errors import SettingError
from equipoise.nn.spectral import spectral_norm


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def converge(module: nn.Module, count: int = 100) -> Tensor:
    """Return the weight after a number of accesses in training mode."""
    module.train()
    with torch.no_grad():
        for _ in range(count):
            weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def layers() -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Linear(12, 7), nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(3, 8, 4, 2, 1), nn.Conv1d(4, 6, 5)]


@pytest.mark.parametrize("module", layers(), ids=lambda module: type(module).__name__)
def test_largest_singular_value_becomes_one(module: nn.Module) -> None:
    original = module.weight.detach().clone()
    weight = converge(spectral_norm(module, seeded()))
    if isinstance(module, nn.ConvTranspose2d):
        original, weight = original.transpose(0, 1), weight.transpose(0, 1)
    sigma = torch.linalg.matrix_norm(original.flatten(1), 2)
    assert weight.shape == original.shape
    assert float(torch.linalg.matrix_norm(weight.flatten(1), 2)) == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(weight, original / sigma, rtol=1e-3, atol=1e-4)


def test_close_at_the_first_access() -> None:
    module = spectral_norm(layers()[1], seeded()).eval()
    assert float(torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.05)


def test_one_iteration_per_access_in_training_only() -> None:
    module = spectral_norm(nn.Linear(12, 7), seeded())
    quotient = module.parametrizations["weight"][0]
    before = quotient.u.clone(), quotient.v.clone()
    module.eval()
    first, second = module(torch.ones(1, 12)), module(torch.ones(1, 12))
    assert torch.equal(first, second)
    assert torch.equal(quotient.u, before[0])
    module.train()
    module(torch.ones(1, 12))
    matrix = module.parametrizations["weight"].original.detach()
    v = matrix.T @ before[0]
    v = v / v.norm()
    u = matrix @ v
    torch.testing.assert_close(quotient.v, v)
    torch.testing.assert_close(quotient.u, u / u.norm())


def test_two_forward_passes_in_one_graph() -> None:
    module = spectral_norm(nn.Linear(5, 3), seeded())
    total = module(torch.ones(2, 5)).square().sum()
    module.eval()
    total = total + module(torch.ones(2, 5)).square().sum()
    module.train()
    total = total + module(-torch.ones(2, 5)).square().sum()
    total.backward()
    assert bool(module.parametrizations["weight"].original.grad.isfinite().all())


def test_gradient_is_that_of_the_quotient() -> None:
    """At converged u and v, the derivative of <A, W / sigma(W)> by finite differences of the true norm."""
    module = spectral_norm(nn.Linear(6, 4, bias=False).double(), seeded())
    converge(module, 500)
    module.eval()
    target = torch.randn(4, 6, generator=seeded(1), dtype=torch.float64)
    (module.weight * target).sum().backward()
    original = module.parametrizations["weight"].original
    w, step = original.detach().clone(), torch.zeros(4, 6, dtype=torch.float64)
    step[1, 2] = 1e-6
    increased, decreased = ((m / torch.linalg.matrix_norm(m, 2) * target).sum() for m in (w + step, w - step))
    assert float(original.grad[1, 2]) == pytest.approx(float(increased - decreased) / 2e-6, rel=1e-4)


def test_result_does_not_depend_on_the_scale_of_the_weight() -> None:
    module = spectral_norm(nn.Linear(5, 3), seeded()).eval()
    before = module.weight.detach().clone()
    with torch.no_grad():
        module.parametrizations["weight"].original.mul_(40)
    torch.testing.assert_close(module.weight, before)


def test_state_dict_round_trip() -> None:
    module = spectral_norm(nn.Conv2d(3, 8, 3), seeded())
    converge(module, 3)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = spectral_norm(nn.Conv2d(3, 8, 3), seeded(9))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(converge(module, 1), converge(other, 1))


def test_deep_copies_are_independent() -> None:
    module = spectral_norm(nn.Linear(12, 7), seeded())
    twin = copy.deepcopy(module)
    module.eval()
    before = module.weight.clone()
    converge(twin, 5)
    with torch.no_grad():
        twin.parametrizations["weight"].original.add_(1)
    assert torch.equal(module.weight, before)
    assert not torch.equal(twin.weight, before)


def test_seed_determines_the_vectors() -> None:
    def vector(seed: int) -> Tensor:
        torch.manual_seed(0)
        module = nn.Linear(64, 64)
        state = torch.get_rng_state()
        buffer = spectral_norm(module, seeded(seed)).parametrizations["weight"][0].u
        assert torch.equal(state, torch.get_rng_state())
        return buffer

    assert torch.equal(vector(0), vector(0))
    assert not torch.equal(vector(0), vector(1))


def test_stays_in_float32_under_autocast() -> None:
    module = spectral_norm(nn.Linear(12, 7), seeded()).eval()
    plain = module.weight
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module.weight, plain)


def test_trains_in_bfloat16_and_in_inference_mode() -> None:
    module = spectral_norm(nn.Linear(12, 7), seeded())
    with torch.inference_mode():
        module(torch.ones(1, 12))
    module(torch.ones(1, 12)).sum().backward()
    low = spectral_norm(nn.Linear(12, 7).bfloat16(), seeded())
    assert low.weight.dtype == torch.bfloat16
    assert float(torch.linalg.matrix_norm(converge(low).float(), 2)) == pytest.approx(1, abs=0.02)


def test_zero_or_missing_weight_raises() -> None:
    module = nn.Linear(3, 2)
    nn.init.zeros_(module.weight)
    with pytest.raises(SettingError, match="Linear"):
        spectral_norm(module, seeded())
    with pytest.raises(SettingError, match="BatchNorm2d"):
        spectral_norm(nn.BatchNorm2d(3, affine=False), seeded())
