"""Candidates: factors and offsets on the requests of a controller, changed while a training runs."""

from dataclasses import dataclass

import numpy as np
import pytest

from equipoise.comparison.suite.candidates import (
    UNCHANGED,
    Candidate,
    CandidateController,
    CandidateSpace,
    present_candidate,
    set_candidate,
)
from equipoise.controllers.annealed import Annealed
from equipoise.controllers.fixed import Fixed
from equipoise.core.controller import AnyController, Turn, request, state_from_json, state_to_json
from equipoise.core.knobs import AdversarialKnobs, Knobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import EquipoiseError
from equipoise.pilot.pilot import ModelInfo, Pilot

BASE = AdversarialKnobs(lr_g=1e-3, lr_d=1e-3, r1_gamma=1.0)
ACTING = frozenset({"lr_g", "lr_d", "r1_gamma", "augment_p"})
LINEAR = Annealed(factors={"lr_g": "linear(1, 0.5)"})


def open_pilot(controller: AnyController, turnable: frozenset[str] = ACTING) -> Pilot:
    return Pilot(CandidateController(controller), steps=100, knobs=BASE, model_info=ModelInfo(turnable=turnable))


def read(pilot: Pilot, step: int) -> None:
    progress = pilot.settings.progress(step)
    pilot.decide(Observation(step, progress, Signals(), Health(), pilot.target, pilot.turnable))


@dataclass(frozen=True)
class RecordedState:
    seen: float


@dataclass(frozen=True)
class Doubling:
    """Controller that doubles lr_g at each reading, and records what it observed."""

    def required_knobs(self) -> frozenset[str]:
        return frozenset({"lr_g"})

    def initial(self, knobs: Knobs) -> RecordedState:
        return RecordedState(0.0)

    def update(self, state: RecordedState, observation: Observation) -> Turn[RecordedState]:
        lr = observation.knobs.lr_g
        return Turn(request(observation.knobs, {"lr_g": 2 * lr}), RecordedState(lr))


def test_without_a_candidate_nothing_changes() -> None:
    pilot, plain = open_pilot(LINEAR), Pilot(LINEAR, steps=100, knobs=BASE, model_info=ModelInfo(turnable=ACTING))
    for step in (10, 50, 100):
        read(pilot, step)
        read(plain, step)
        assert pilot.knobs == plain.knobs
    assert pilot.settings.controller.required_knobs() == {"lr_g"}


def test_a_factor_acts_at_once_and_a_schedule_continues_under_it() -> None:
    pilot = open_pilot(LINEAR)
    changes = set_candidate(pilot, 0, Candidate({"lr_g": 3.0, "lr_d": 0.5}))
    assert {change.knob for change in changes} == {"lr_g", "lr_d"}
    assert pilot.knobs.values()["lr_g"] == pytest.approx(3e-3)
    read(pilot, 100)
    assert pilot.knobs.values()["lr_g"] == pytest.approx(1.5e-3)
    assert pilot.knobs.values()["lr_d"] == pytest.approx(5e-4)


def test_the_other_controller_observes_its_own_requests() -> None:
    pilot = open_pilot(Doubling())
    set_candidate(pilot, 0, Candidate({"lr_g": 0.1}))
    for number in range(1, 3):
        read(pilot, number)
        state = pilot.controller_state
        assert state.inner.seen == pytest.approx(1e-3 * 2**number)
        assert pilot.knobs.values()["lr_g"] == pytest.approx(1e-4 * 2 ** (number + 1))


def test_the_unchanged_candidate_returns_to_the_requests() -> None:
    pilot = open_pilot(Fixed())
    set_candidate(pilot, 0, Candidate({"lr_g": 3.0}, {"augment_p": 0.4}))
    assert pilot.knobs.values()["augment_p"] == 0.4
    set_candidate(pilot, 5, UNCHANGED)
    assert pilot.knobs == BASE
    assert present_candidate(pilot) == UNCHANGED


def test_values_stay_in_their_ranges_and_off_stays_off() -> None:
    pilot = open_pilot(Fixed())
    set_candidate(pilot, 0, Candidate({"lr_g": 100.0, "gp_weight": 10.0, "r1_gamma": 0.0}, {"augment_p": 1.0}))
    values = pilot.knobs.values()
    assert (values["lr_g"], values["augment_p"], values["gp_weight"], values["r1_gamma"]) == (1e-2, 0.8, 0.0, 0.0)


def test_knobs_that_do_not_act_are_ignored() -> None:
    pilot = open_pilot(Fixed(), frozenset({"lr_g"}))
    assert set_candidate(pilot, 0, Candidate({"r1_gamma": 4.0}, {"augment_p": 0.2})) == ()
    assert pilot.knobs == BASE


def test_the_state_is_json() -> None:
    pilot = open_pilot(LINEAR)
    set_candidate(pilot, 0, Candidate({"lr_g": 3.0}))
    state, controller = pilot.controller_state, pilot.settings.controller
    assert state_from_json(controller.initial(BASE), state_to_json(state)) == state


def test_one_candidate_then_another() -> None:
    more, off = Candidate(offsets={"augment_p": 0.2}), Candidate({"augment_p": 0.0})
    assert more.followed_by(more).apply("augment_p", 0.1) == pytest.approx(0.5)
    assert more.followed_by(off).apply("augment_p", 0.1) == 0
    assert more.followed_by(off).followed_by(more).apply("augment_p", 0.1) == pytest.approx(0.2)
    assert Candidate({"lr_g": 0.5}).followed_by(Candidate({"lr_g": 0.5, "lr_d": 2.0})).factors == {
        "lr_g": 0.25,
        "lr_d": 2.0,
    }


def test_samples_are_within_the_spread() -> None:
    space, generator = CandidateSpace({"lr_g": 4.0, "r1_gamma": 1.0}, (0.0, 0.3)), np.random.default_rng(0)
    samples = [space.sample(generator) for _ in range(200)]
    logs = np.log([sample.factors["lr_g"] for sample in samples]) / np.log(4)
    assert (np.abs(logs) <= 1).all()
    assert abs(logs.mean()) < 0.15
    assert 0.5 < logs.std() < 0.65, "log-uniform has 0.577"
    assert {sample.factors["r1_gamma"] for sample in samples} == {1.0}
    assert {sample.offsets["augment_p"] for sample in samples} == {0.0, 0.3}


def test_a_change_multiplies_or_divides() -> None:
    space, generator = CandidateSpace({"lr_g": 4.0}, (0.0, 0.3)), np.random.default_rng(0)
    start = Candidate({"lr_g": 2.0}, {"augment_p": 0.3})
    changed = [space.perturb(start, generator, 1.25, 0.0) for _ in range(20)]
    assert {round(candidate.factors["lr_g"], 6) for candidate in changed} == {1.6, 2.5}
    assert {round(candidate.offsets["augment_p"], 6) for candidate in changed} == {0.24, 0.375}
    resampled = [space.perturb(start, generator, 1.25, 1.0) for _ in range(20)]
    assert {candidate.offsets["augment_p"] for candidate in resampled} == {0.0, 0.3}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"factors": {"lr": 2.0}}, "there is no knob 'lr'"),
        ({"offsets": {"augment": 0.2}}, "there is no knob 'augment'"),
        ({"factors": {"lr_g": -1.0}}, "the factor of lr_g is -1"),
        ({"offsets": {"augment_p": float("nan")}}, "the offset of augment_p is nan"),
    ],
)
def test_impossible_candidates(values: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(EquipoiseError, match=message):
        Candidate(**values)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (({"lr": 2.0}, (0.0,)), "there is no knob 'lr'"),
        (({"lr_g": 0.5}, (0.0,)), "the spread of lr_g is 0.5"),
        (({}, ()), "at least one value"),
        (({}, (0.9,)), "each from 0 to 0.8"),
    ],
)
def test_impossible_spaces(space: tuple[dict[str, float], tuple[float, ...]], message: str) -> None:
    with pytest.raises(EquipoiseError, match=message):
        CandidateSpace(*space)
