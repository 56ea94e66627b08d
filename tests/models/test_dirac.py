"""The Dirac-GAN against its theory: the spectral radius of one step, measured on the loop that trains everything else.

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
from equipoise.training.loop import Plan, Streams, Training, train
from equipoise.training.state import begin

H = 0.2
SMALL = 1e-3
# Spectral radii at h = 0.2, by updates and gamma, computed by hand from the eigenvalues.
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


def path(
    steps: int, *, start: float = SMALL, updates: str = "alternating", loss: str = "non_saturating", **knobs: float
):
    """(psi, theta) before the first step and after each: (steps + 1, 2)."""
    data = catalog.build("data", "origin")
    recipe = catalog.build("models", "dirac", {"updates": updates, "start": start, "loss": loss})
    model = recipe.build(data.spec, torch.Generator())
    values = model.knobs.with_values(knobs)
    state = begin(model, values, torch.device("cpu"), "fp32", torch.Generator().manual_seed(0))
    pilot = Pilot("fixed", steps=steps, knobs=values, rules=ModelInfo(model.turnable, model.probability))
    preview = model.latent(1, state.generator, None), None
    training = Training(state, pilot, Streams(data.stream("train", 1, 0)), Plan(steps, 1), preview)
    result = [place(state)]
    result += [place(state) for event in train(training) if isinstance(event, Stepped)]
    assert len(result) == steps + 1
    return np.array(result)


def place(state: Any) -> tuple[float, float]:
    networks = state.model.networks
    return networks["discriminator"].weight.item(), networks["generator"].weight.item()


def matrix(steps: np.ndarray) -> np.ndarray:
    """The linear map that takes each place to the next, by least squares; all places count alike."""
    size = np.linalg.norm(steps[:-1], axis=1, keepdims=True)
    return np.linalg.lstsq(steps[:-1] / size, steps[1:] / size, rcond=None)[0].T


def theory(updates: str, gamma: float, discriminator_steps: int = 1) -> np.ndarray:
    """One step of the game, linear."""
    judge, fool = np.array([[1 - H * gamma, -H / 2], [0, 1]]), np.array([[1, 0], [H / 2, 1]])
    if updates == "alternating":
        return fool @ np.linalg.matrix_power(judge, discriminator_steps)
    return np.eye(2) + H * np.array([[-gamma, -0.5], [0.5, 0]])


def radius_of(linear: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(linear)).max())


@CASES
def test_published_radii_are_those_of_the_theory(updates: str, gamma: float, radius: float) -> None:
    assert radius_of(theory(updates, gamma)) == pytest.approx(radius, abs=1e-5)


@CASES
def test_a_step_has_the_spectral_radius_of_the_theory(updates: str, gamma: float, radius: float) -> None:
    measured = matrix(path(60, updates=updates, r1_gamma=gamma))
    assert measured == pytest.approx(theory(updates, gamma), abs=1e-5)
    assert radius_of(measured) == pytest.approx(radius, abs=1e-3)


@CASES
def test_the_distance_grows_by_the_radius(updates: str, gamma: float, radius: float) -> None:
    """The other way round: how much the distance changes over many steps, without a fit.

    At gamma = 1 both eigenvalues are real and, simultaneously, the same: the growth then has a factor of the number of
    steps, which is taken off.
    """
    steps = path(226, updates=updates, r1_gamma=gamma)
    distance = np.linalg.norm(steps, axis=1)
    early, late = 100, 226  # two turns of the orbit
    double = (late / early) if (updates, gamma) == ("simultaneous", 1.0) else 1.0
    growth = (distance[late] / distance[early] / double) ** (1 / (late - early))
    assert growth == pytest.approx(radius, abs=1e-3)


def test_simultaneous_updates_without_a_penalty_diverge_and_alternating_ones_orbit() -> None:
    away = np.linalg.norm(path(500, start=0.01, updates="simultaneous"), axis=1)
    assert (np.diff(away) > 0).all()
    assert away[-1] > 10 * away[0]
    # With the non-saturating loss the orbit shrinks, at second order: d|v|^2/dt = -(psi theta)^2.
    orbit = np.linalg.norm(path(500, start=0.1, loss="minimax"), axis=1)
    assert orbit.max() / orbit.min() < 1.2
    assert orbit[-100:].max() == pytest.approx(orbit[:100].max(), rel=1e-3)


@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
def test_a_penalty_converges_from_afar(updates: str) -> None:
    end = path(300, start=1.0, updates=updates, r1_gamma=1.0)[-1]
    assert np.linalg.norm(end) < 1e-3


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_discriminator_steps_act(count: int, gamma: float) -> None:
    """Each makes the matrix once more; the determinant (1 - h gamma)^n tells how often."""
    measured = matrix(path(60, r1_gamma=gamma, discriminator_steps=count))
    assert measured == pytest.approx(theory("alternating", gamma, count), abs=1e-5)
    assert np.linalg.det(measured) == pytest.approx((1 - H * gamma) ** count, abs=1e-5)


def test_generator_steps_act() -> None:
    measured = matrix(path(60, r1_gamma=0.3, generator_steps=3))
    fool, judge = np.array([[1, 0], [H / 2, 1]]), np.array([[1 - 0.3 * H, -H / 2], [0, 1]])
    assert measured == pytest.approx(np.linalg.matrix_power(fool, 3) @ judge, abs=1e-5)


def test_learning_rates_act_on_their_own_player() -> None:
    measured = matrix(path(60, updates="simultaneous", lr_d=0.1, lr_g=0.4))
    assert measured == pytest.approx(np.array([[1, -0.05], [0.2, 1]]), abs=1e-5)


def test_losses_are_the_same_at_the_equilibrium() -> None:
    """Minimax and non-saturating: f'(0) = 1/2 for both (Mescheder 2018, section 2); Wasserstein: 1."""
    assert matrix(path(40, loss="minimax")) == pytest.approx(theory("alternating", 0.0), abs=1e-5)
    assert matrix(path(40, loss="wasserstein", updates="simultaneous")) == pytest.approx(
        np.array([[1, -H], [H, 1]]), abs=1e-5
    )


def test_what_does_not_act_is_not_turnable() -> None:
    data = catalog.build("data", "origin")
    games = {
        name: catalog.build("models", name).build(data.spec, torch.Generator())
        for name in ("dirac", "dirac:simultaneous")
    }
    assert "discriminator_steps" in games["dirac"].turnable
    assert not {"discriminator_steps", "generator_steps"} & games["dirac:simultaneous"].turnable
    assert all("beta2" not in game.turnable for game in games.values())
    for first, second in itertools.pairwise(games.values()):
        assert first.knobs == second.knobs


def test_other_data_is_refused() -> None:
    with pytest.raises(SettingError, match="dirac plays on a single number; use --model mlp for points"):
        catalog.build("models", "dirac").build(catalog.build("data", "ring").spec, torch.Generator())
