"""The Dirac-GAN against theory: the spectral radius of one step of the training loop.

Near the equilibrium theta = psi = 0 one step is a matrix M. With step h, f'(0) = 1/2 and v = (psi, theta):
simultaneous             M = I + h ((-gamma, -1/2), (1/2, 0))
alternating, psi first   M = ((1, 0), (h/2, 1)) ((1 - h gamma, -h/2), (0, 1))
"""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.core import catalog
from equipoise.core.events import Stepped
from equipoise.errors import SettingError
from equipoise.pilot.pilot import ModelInfo, Pilot
from equipoise.training.loop import Training, train
from equipoise.training.plan import Preview, Streams, TrainingPlan
from equipoise.training.state import initial_state

H = 0.2
SMALL = 1e-3
# Spectral radii at h = 0.2, by kind of update and gamma, computed from the eigenvalues.
RADII = {
    ("simultaneous", 0.0): 1.00499,
    ("simultaneous", 0.05): 1.0,
    ("simultaneous", 0.3): 0.97468,
    ("simultaneous", 1.0): 0.9,
    ("alternating", 0.0): 1.0,
    ("alternating", 0.05): 0.99499,
    ("alternating", 0.3): 0.96954,
    ("alternating", 1.0): 0.92702,
}
CASES = pytest.mark.parametrize(("updates", "gamma", "radius"), [(*case, radius) for case, radius in RADII.items()])


def trajectory(
    steps: int, *, start: float = SMALL, updates: str = "alternating", loss: str = "non_saturating", **knobs: float
):
    """Return (psi, theta) before the first step and after each step: (steps + 1, 2)."""
    data = catalog.build("data", "origin")
    recipe = catalog.build("models", "dirac", {"updates": updates, "start": start, "loss": loss})
    model = recipe.build(data.spec, torch.Generator())
    values = model.knobs.with_values(knobs)
    state = initial_state(model, values, torch.device("cpu"), "fp32", torch.Generator().manual_seed(0))
    pilot = Pilot("fixed", steps=steps, knobs=values, model_info=ModelInfo(model.turnable, model.probability))
    preview = Preview(model.latent(1, state.generator, None), None)
    training = Training(state, pilot, Streams(data.stream("train", 1, 0)), TrainingPlan(steps, 1), preview)
    result = [parameters(state)]
    result += [parameters(state) for event in train(training) if isinstance(event, Stepped)]
    assert len(result) == steps + 1
    return np.array(result)


def parameters(state: Any) -> tuple[float, float]:
    networks = state.model.networks
    return networks["discriminator"].weight.item(), networks["generator"].weight.item()


def matrix(steps: np.ndarray) -> np.ndarray:
    """Fit the linear map from each point to the next by least squares with equal weights."""
    size = np.linalg.norm(steps[:-1], axis=1, keepdims=True)
    return np.linalg.lstsq(steps[:-1] / size, steps[1:] / size, rcond=None)[0].T


def theory(updates: str, gamma: float, discriminator_steps: int = 1) -> np.ndarray:
    """Return the matrix of one step."""
    discriminator, generator = np.array([[1 - H * gamma, -H / 2], [0, 1]]), np.array([[1, 0], [H / 2, 1]])
    if updates == "alternating":
        return generator @ np.linalg.matrix_power(discriminator, discriminator_steps)
    return np.eye(2) + H * np.array([[-gamma, -0.5], [0.5, 0]])


def radius_of(linear: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(linear)).max())


@CASES
def test_tabulated_radii_equal_theory(updates: str, gamma: float, radius: float) -> None:
    assert radius_of(theory(updates, gamma)) == pytest.approx(radius, abs=1e-5)


@CASES
def test_a_step_has_the_spectral_radius_of_theory(updates: str, gamma: float, radius: float) -> None:
    result = matrix(trajectory(60, updates=updates, r1_gamma=gamma))
    assert result == pytest.approx(theory(updates, gamma), abs=1e-5)
    assert radius_of(result) == pytest.approx(radius, abs=1e-3)


@CASES
def test_distance_grows_by_the_spectral_radius(updates: str, gamma: float, radius: float) -> None:
    """From the change of the distance over many steps, without a fit.

    At gamma = 1 both eigenvalues are real and, for simultaneous updates, equal: the growth then has the number of steps
    as a factor, which is divided out.
    """
    steps = trajectory(226, updates=updates, r1_gamma=gamma)
    distance = np.linalg.norm(steps, axis=1)
    early, late = 100, 226  # two periods of the orbit
    double = (late / early) if (updates, gamma) == ("simultaneous", 1.0) else 1.0
    growth = (distance[late] / distance[early] / double) ** (1 / (late - early))
    assert growth == pytest.approx(radius, abs=1e-3)


def test_unpenalised_updates_diverge_or_orbit() -> None:
    distance_from_0 = np.linalg.norm(trajectory(500, start=0.01, updates="simultaneous"), axis=1)
    assert (np.diff(distance_from_0) > 0).all()
    assert distance_from_0[-1] > 10 * distance_from_0[0]
    # With the non-saturating loss the orbit shrinks, at second order: d|v|^2/dt = -(psi theta)^2.
    orbit = np.linalg.norm(trajectory(500, start=0.1, loss="minimax"), axis=1)
    assert orbit.max() / orbit.min() < 1.2
    assert orbit[-100:].max() == pytest.approx(orbit[:100].max(), rel=1e-3)


@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
def test_penalty_converges_from_a_distant_start(updates: str) -> None:
    end = trajectory(300, start=1.0, updates=updates, r1_gamma=1.0)[-1]
    assert np.linalg.norm(end) < 1e-3


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_discriminator_steps_have_an_effect(count: int, gamma: float) -> None:
    """Each multiplies by its matrix; the determinant is (1 - h gamma)^n."""
    result = matrix(trajectory(60, r1_gamma=gamma, discriminator_steps=count))
    assert result == pytest.approx(theory("alternating", gamma, count), abs=1e-5)
    assert np.linalg.det(result) == pytest.approx((1 - H * gamma) ** count, abs=1e-5)


def test_generator_steps_have_an_effect() -> None:
    result = matrix(trajectory(60, r1_gamma=0.3, generator_steps=3))
    generator, discriminator = np.array([[1, 0], [H / 2, 1]]), np.array([[1 - 0.3 * H, -H / 2], [0, 1]])
    assert result == pytest.approx(np.linalg.matrix_power(generator, 3) @ discriminator, abs=1e-5)


def test_learning_rates_affect_their_own_network() -> None:
    result = matrix(trajectory(60, updates="simultaneous", lr_d=0.1, lr_g=0.4))
    assert result == pytest.approx(np.array([[1, -0.05], [0.2, 1]]), abs=1e-5)


def test_losses_are_equivalent_at_the_equilibrium() -> None:
    """Minimax and non-saturating: f'(0) = 1/2 for both (Mescheder 2018, section 2); Wasserstein: 1."""
    assert matrix(trajectory(40, loss="minimax")) == pytest.approx(theory("alternating", 0.0), abs=1e-5)
    assert matrix(trajectory(40, loss="wasserstein", updates="simultaneous")) == pytest.approx(
        np.array([[1, -H], [H, 1]]), abs=1e-5
    )


def test_knobs_without_effect_are_not_turnable() -> None:
    data = catalog.build("data", "origin")
    models = {
        name: catalog.build("models", name).build(data.spec, torch.Generator())
        for name in ("dirac", "dirac:simultaneous")
    }
    assert "discriminator_steps" in models["dirac"].turnable
    assert not {"discriminator_steps", "generator_steps"} & models["dirac:simultaneous"].turnable
    assert all("beta2" not in model.turnable for model in models.values())
    for first, second in itertools.pairwise(models.values()):
        assert first.knobs == second.knobs


def test_unsupported_data_raise() -> None:
    with pytest.raises(SettingError, match="single number; use --model mlp"):
        catalog.build("models", "dirac").build(catalog.build("data", "ring").spec, torch.Generator())
