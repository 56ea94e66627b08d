"""Settings of knobs to try in a running training: factors and offsets on whatever its controller requests.

    knob = factor · value of the controller + offset        (clamped to the range of the knob)

So a schedule or a closed loop continues in proportion, and one training can go on under another setting.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict

from equipoise.core import controller as interface
from equipoise.core.controller import AnyController, Turn, request
from equipoise.core.knobs import AdversarialKnobs, Knobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError, UnknownNameError
from equipoise.pilot.pilot import Pilot
from equipoise.pilot.step import KnobChange
from equipoise.training.loop import Training

FORBID_OTHER_KEYS = ConfigDict(extra="forbid")
OFFSET_KNOB = "augment_p"
"""The knob whose setting is a value instead of a factor, because it is usually 0."""


def check_names(names: Sequence[str]) -> None:
    """Raise UnknownNameError for a name that is no knob of a GAN."""
    known = AdversarialKnobs.ranges()
    for name in names:
        if name not in known:
            raise UnknownNameError("knob", name, known)


@dataclass(frozen=True)
class Candidate:
    """A setting to try. Knobs that do not act in a model are ignored, so that one candidate suits every model.

    `factors`: of knobs. `offsets`: added to knobs after the factor.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FORBID_OTHER_KEYS

    factors: Mapping[str, float] = field(default_factory=dict)
    offsets: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_names([*self.factors, *self.offsets])
        for name, factor in self.factors.items():
            if not 0 <= factor < math.inf:
                raise SettingError(f"the factor of {name} is {factor:g}: it must be at least 0")
        for name, offset in self.offsets.items():
            if not math.isfinite(offset):
                raise SettingError(f"the offset of {name} is {offset:g}: it must be a number")

    @property
    def names(self) -> frozenset[str]:
        """Names of the knobs that it changes."""
        return frozenset(self.factors) | frozenset(self.offsets)

    def apply(self, name: str, value: float) -> float:
        """Return the value of a knob for the value that the controller requests."""
        return value * self.factors.get(name, 1.0) + self.offsets.get(name, 0.0)

    def followed_by(self, other: "Candidate") -> "Candidate":
        """Return the candidate that applies this one, and then another one to its result."""
        factors = {name: self.factors.get(name, 1.0) * factor for name, factor in other.factors.items()}
        offsets = {name: other.apply(name, self.offsets.get(name, 0.0)) for name in other.names}
        return Candidate({**self.factors, **factors}, {**self.offsets, **offsets})


UNCHANGED = Candidate()
"""The candidate that changes nothing."""


@dataclass(frozen=True)
class CandidateState:
    """State of a CandidateController. `inner`: of its controller. `requested`: that one's requests, by changed knob."""

    inner: object
    candidate: Candidate = UNCHANGED
    requested: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CandidateController:
    """Controller that changes the requests of another one by a candidate, which is part of the state.

    The other controller observes the knobs as it requested them.
    """

    controller: AnyController

    def required_knobs(self) -> frozenset[str]:
        """Return those of the other controller."""
        return self.controller.required_knobs()

    def scheduled_knobs(self) -> frozenset[str]:
        """Return those of the other controller."""
        return interface.scheduled_knobs(self.controller)

    def initial(self, knobs: Knobs) -> CandidateState:
        """Return the state without changes."""
        return CandidateState(self.controller.initial(knobs))

    def update(self, state: CandidateState, observation: Observation) -> Turn[CandidateState]:
        """Let the other controller decide, and change its request."""
        turn = self.controller.update(state.inner, inner_observation(state, observation))
        ranges = turn.knobs.ranges()
        names = sorted(name for name in state.candidate.names if observation.acts(name))
        requested = {name: ranges[name].clamp(getattr(turn.knobs, name)) for name in names}
        values = {name: state.candidate.apply(name, value) for name, value in requested.items()}
        return Turn(
            request(turn.knobs, values),
            CandidateState(turn.state, state.candidate, requested),
            {**turn.reasons, **dict.fromkeys(names, "a candidate changes it")},
            turn.reward,
        )


@dataclass(frozen=True)
class SetCandidate:
    """Transient controller that replaces the candidate of a CandidateController's state, at once."""

    candidate: Candidate

    def required_knobs(self) -> frozenset[str]:
        """Return an empty set."""
        return frozenset()

    def initial(self, knobs: Knobs) -> CandidateState:
        """Return the state of a fresh CandidateController, which never serves alone."""
        return CandidateState(None)

    def update(self, state: CandidateState, observation: Observation) -> Turn[CandidateState]:
        """Apply the new candidate to the last request of the other controller."""
        knobs = inner_observation(state, observation).knobs
        names = sorted(name for name in self.candidate.names if observation.acts(name))
        requested = {name: getattr(knobs, name) for name in names}
        values = {name: self.candidate.apply(name, value) for name, value in requested.items()}
        state = CandidateState(state.inner, self.candidate, requested)
        return Turn(request(knobs, values), state, dict.fromkeys(names, "the candidate changed"))


def inner_observation(state: CandidateState, observation: Observation) -> Observation:
    """Return what the other controller observes: its own requests instead of the changed knobs."""
    if not state.requested:
        return observation
    return dataclasses.replace(observation, knobs=request(observation.knobs, state.requested))


def with_candidates(training: Training) -> Training:
    """Put a CandidateController around the controller of a training that has not started; without a candidate
    the training is bit-identical."""
    pilot = training.pilot
    training.pilot = Pilot(
        CandidateController(pilot.settings.controller),
        steps=pilot.settings.steps,
        knobs=pilot.base,
        model_info=pilot.model_info,
        sense_every=pilot.sense_every,
        repair=pilot.settings.repair,
    )
    return training


def set_candidate(pilot: Pilot, step: int, candidate: Candidate) -> tuple[KnobChange, ...]:
    """Go on with another candidate after a step; returns the changes of knobs."""
    progress = pilot.settings.progress(step)
    observation = Observation(step, progress, Signals(), Health(), pilot.target, pilot.turnable)
    return pilot.decide(observation, SetCandidate(candidate))


def present_candidate(pilot: Pilot) -> Candidate:
    """Return the candidate of a training."""
    state = pilot.controller_state
    assert isinstance(state, CandidateState)
    return state.candidate


@dataclass(frozen=True)
class CandidateSpace:
    """A distribution of candidates, for sampling and for small changes.

    `spread`: knob -> largest factor to either side; factors are log-uniform. `augment_p`: offsets, equally likely.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FORBID_OTHER_KEYS

    spread: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 2.0, "lr_d": 2.0, "r1_gamma": 4.0, "gp_weight": 4.0}
    )
    augment_p: Sequence[float] = (0.0, 0.2, 0.4)

    def __post_init__(self) -> None:
        check_names(list(self.spread))
        for name, spread in self.spread.items():
            if not 1 <= spread < math.inf:
                raise SettingError(f"the spread of {name} is {spread:g}: it must be at least 1")
        if not self.augment_p or not all(0 <= p <= 0.8 for p in self.augment_p):
            raise SettingError(
                f"augment_p = {list(self.augment_p)}: it must have at least one value, each from 0 to 0.8"
            )

    def sample(self, generator: np.random.Generator) -> Candidate:
        """Sample a candidate."""
        factors = {name: float(spread ** generator.uniform(-1, 1)) for name, spread in self.spread.items()}
        return Candidate(factors, {OFFSET_KNOB: float(generator.choice(list(self.augment_p)))})

    def perturb(
        self, candidate: Candidate, generator: np.random.Generator, factor: float, resample: float
    ) -> Candidate:
        """Multiply or divide every value by `factor`, or sample it again with probability `resample`."""
        new = self.sample(generator)

        def change(old: float, sample: float) -> float:
            power, again = float(generator.choice([-1, 1])), generator.random() < resample
            return sample if again else old * factor**power

        factors = {name: change(candidate.factors.get(name, 1.0), value) for name, value in new.factors.items()}
        offsets = {name: change(candidate.offsets.get(name, 0.0), value) for name, value in new.offsets.items()}
        return Candidate(factors, offsets)
