"""Presets of schedules: first and last values, and knobs that are ignored."""

import pytest

from equipoise.cli import main as cli
from equipoise.controllers.annealed import Annealed
from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.run import Run

BASE = AdversarialKnobs().with_values(
    {"lr_g": 1e-3, "lr_d": 2e-3, "r1_gamma": 0.5, "r2_gamma": 0.4, "instance_noise": 0.2, "ema_half_life": 8e3}
)


def at(controller, progress, turnable=None):
    observation = Observation(1, progress, Signals(), Health(), BASE, turnable)
    return controller.update(controller.initial(BASE), observation)


def values(controller, progress):
    return at(controller, progress).knobs


@pytest.mark.parametrize("shape", ["linear", "exponential", "cosine"])
def test_all_shapes_have_the_same_ends(shape: str) -> None:
    controller = catalog.build("controllers", f"annealed:{shape}")
    assert values(controller, 0.0) == BASE
    end = values(controller, 1.0)
    result = [getattr(end, knob) / getattr(BASE, knob) for knob in ("lr_g", "lr_d", "r1_gamma", "r2_gamma")]
    assert result == pytest.approx([0.02, 0.02, 0.1, 0.1])
    assert end.instance_noise == pytest.approx(0.002)
    assert BASE.differences(end).keys() == {"lr_g", "lr_d", "r1_gamma", "r2_gamma", "instance_noise"}
    middle = {"linear": 0.51, "exponential": 0.02**0.5, "cosine": 0.51}[shape]
    assert values(controller, 0.5).lr_g == pytest.approx(1e-3 * middle)
    quarter = {"linear": 0.755, "exponential": 0.02**0.25, "cosine": 0.02 + 0.98 * (2 + 2**0.5) / 4}[shape]
    assert values(controller, 0.25).lr_g == pytest.approx(1e-3 * quarter)


def test_r3gan_has_five_cosine_schedules() -> None:
    controller = catalog.build("controllers", "annealed:r3gan")
    start, middle, end = (values(controller, progress) for progress in (0.0, 0.5, 1.0))
    assert (start.lr_g, start.r1_gamma, start.beta2, start.augment_p, start.ema_half_life) == (1e-3, 0.5, 0.9, 0, 0)
    assert (end.lr_g, end.lr_d) == pytest.approx((2.5e-4, 5e-4)), "2e-4 to 5e-5 is to a quarter"
    assert (end.r1_gamma, end.r2_gamma) == pytest.approx((0.05, 0.04)), "0.05 to 0.005 is to a tenth"
    assert (end.beta2, end.augment_p, end.ema_half_life) == pytest.approx((0.99, 0.55, 8e3))
    for knob in ("lr_g", "r1_gamma", "beta2", "augment_p", "ema_half_life"):
        assert getattr(middle, knob) == pytest.approx((getattr(start, knob) + getattr(end, knob)) / 2)


def test_a_preset_ignores_knobs_that_do_not_act() -> None:
    controller = catalog.build("controllers", "annealed:r3gan")
    assert controller.required_knobs() == {"lr_g", "lr_d"}
    turn = at(controller, 0.5, frozenset({"lr_g", "lr_d", "beta2"}))
    assert BASE.differences(turn.knobs).keys() == {"lr_g", "lr_d", "beta2"}
    ignored = "augment_p, ema_half_life, r1_gamma, r2_gamma"
    assert turn.reasons["lr_g"] == f"cosine(1, 0.25) at 50% of the run; ignored, since they do not act here: {ignored}"


def test_a_run_on_points_ignores_augmentation_unless_it_is_requested(tmp_path, capsys) -> None:
    ring = Experiment(data=PlugSpec("ring"), controller=PlugSpec("annealed:r3gan"), steps=6, options={"width": 4})
    list(launch.start(ring, tmp_path / "run"))
    turned = Run(tmp_path / "run").lines("turned")
    assert {line["knob"] for line in turned} == {"lr_g", "lr_d", "r1_gamma", "r2_gamma", "beta2", "ema_half_life"}
    assert all(line["why"].endswith("ignored, since they do not act here: augment_p") for line in turned)
    words = ["train", "ring", "--controller", "annealed:r3gan", "--set", "augment_p=linear(0, 0.5)"]
    assert cli.run([*words, "--out", str(tmp_path / "other")]) == 2
    assert "equipoise: augment_p has no effect in mlp; knobs that have an effect: " in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_an_explicit_schedule_is_required() -> None:
    explicit = Annealed(schedules={"augment_p": "linear(0, 0.5)"})
    assert explicit.required_knobs() == {"augment_p"}
    assert Annealed(schedules={"augment_p": "linear(0, 0.5)"}, optional=("augment_p",)).required_knobs() == frozenset()
