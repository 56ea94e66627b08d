"""Open-loop control by passes over the training samples, and the facts that it needs."""

import math

import pytest

from equipoise.controllers.epochs import Epochs
from equipoise.core import catalog
from equipoise.core.controller import RunFacts
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec

BASE = AdversarialKnobs().with_values({"lr_g": 1e-3, "lr_d": 2e-3})


def at(controller, progress, base=BASE, turnable=None):
    """The knobs at a progress."""
    observation = Observation(round(1000 * progress), progress, Signals(), Health(), base, turnable)
    return base.step_towards(controller.update(controller.initial(base), observation).knobs)


def test_augmentation_rises_with_the_logarithm_of_the_passes() -> None:
    controller = Epochs(most=0.6, first=10, last=1000, epochs=2000)
    assert at(controller, 0.0).augment_p == 0
    assert at(controller, 0.005).augment_p == pytest.approx(0)
    assert at(controller, 0.05).augment_p == pytest.approx(0.3), "100 passes"
    assert at(controller, 0.5).augment_p == at(controller, 1.0).augment_p == pytest.approx(0.6)


def test_large_data_sets_are_left_alone() -> None:
    facts = RunFacts(steps=1000, batch_size=32, training_samples=4000, held_out_samples=200)
    controller = Epochs().resolve(facts)
    assert controller.epochs == 8
    assert all(at(controller, progress) == BASE for progress in (0.0, 0.5, 1.0))


def test_without_epochs_nothing_changes_but_the_cosine() -> None:
    assert at(Epochs(), 1.0) == BASE
    assert at(Epochs(final=0.1, decay="passes"), 1.0) == BASE
    assert at(Epochs(final=0.1), 1.0).lr_g == pytest.approx(1e-4)


def test_learning_rates_decay_along_a_cosine_or_with_the_passes() -> None:
    cosine = Epochs(most=0.0, final=0.1, epochs=100)
    for progress in (0.0, 0.3, 1.0):
        factor = 0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2
        assert at(cosine, progress).lr_d == pytest.approx(2e-3 * factor)
    passes = Epochs(most=0.0, first=10, last=1000, final=0.1, decay="passes", epochs=100)
    assert at(passes, 0.1) == BASE
    assert at(passes, 1.0).lr_d == pytest.approx(2e-3 * math.sqrt(0.1))


def test_ahead_counts_the_passes_of_the_whole_run_for_augmentation_alone() -> None:
    controller = Epochs(most=0.6, first=10, last=1000, ahead=1.0, final=0.1, decay="passes", epochs=100)
    assert at(controller, 0.0).augment_p == at(controller, 1.0).augment_p == pytest.approx(0.3)
    assert at(controller, 0.0).lr_g == 1e-3


def test_updates_of_the_discriminator_count() -> None:
    base = BASE.with_values({"discriminator_steps": 5})
    assert at(Epochs(most=0.6, first=10, last=1000, epochs=20), 1.0, base).augment_p == pytest.approx(0.3)


def test_the_value_of_the_user_is_the_lower_bound_and_knobs_that_do_not_act_are_left_alone() -> None:
    base = BASE.with_values({"augment_p": 0.2})
    controller = Epochs(most=0.6, first=10, last=1000, epochs=100)
    assert at(controller, 0.11, base).augment_p == 0.2
    assert at(controller, 1.0, base).augment_p == pytest.approx(0.3)
    assert at(controller, 1.0, base, frozenset({"lr_g", "lr_d"})) == base


def test_what_it_changes_is_declared() -> None:
    assert Epochs().required_knobs() == frozenset()
    assert Epochs().scheduled_knobs() == {"augment_p"}
    assert catalog.build("controllers", "epochs:cosine").required_knobs() == {"lr_g", "lr_d"}


def test_completion_writes_the_facts_of_the_run_to_the_settings() -> None:
    controller = PlugSpec("chain", {"of": ("epochs", "constraint", "annealed")})
    experiment = complete(Experiment(data=PlugSpec("digits"), steps=1000, batch_size=64, controller=controller))
    settings = experiment.controller.options["settings"]
    assert settings == {"epochs": {"epochs": 16.0}, "constraint": {"held_out_samples": 1000, "training_samples": 4000}}
    assert complete(experiment) == experiment
    given = experiment.controller.with_options(settings={"epochs": {"epochs": 3.0}})
    chain = complete(Experiment(data=PlugSpec("digits"), steps=1000, batch_size=64, controller=given)).controller
    assert chain.options["settings"]["epochs"] == {"epochs": 3.0}


def test_epochs_stay_open_until_a_time_budget_is_measured() -> None:
    experiment = Experiment(data=PlugSpec("digits"), minutes=1, controller=PlugSpec("confident_ada"))
    options = complete(experiment).controller.options
    assert options["epochs"] is None
    assert options["held_out_samples"] == 1000
    assert RunFacts(None, 8, 100, 10).epochs is None
    assert RunFacts(50, 8, None, None).epochs is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": 100, "last": 10}, "first = 100, last = 10: first must be below last"),
        ({"most": 0.9}, "most = 0.9: it must be from 0 to 0.8"),
        ({"final": 0}, "final = 0: it must be above 0"),
        ({"final": 2}, "final = 2: it must be from 0 to 1"),
    ],
)
def test_invalid_options_are_refused(options, message) -> None:
    with pytest.raises(SettingError, match=message):
        Epochs(**options)
