"""A controller for the Dirac-GAN, signals and a knob that it lacks, and disturbances between a controller and its
system: noise, delay, a sudden change."""

import dataclasses
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from equipoise.core.controller import AnyController, Turn
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import MetricReading, Observation

State = dict[str, Any]


@dataclass(frozen=True)
class Damping:
    """Changes r1_gamma until the gradients of both networks decrease fast enough: perturb and observe.

    In each window it fits the slope of log |gradients| (of both networks). While they decrease by less than `target`
    per step, gamma keeps changing by the same factor as long as that helps, and in the other direction otherwise: the
    rate of decay has one optimum in gamma, since a smaller value oscillates and a larger one is slow. gamma stays below
    1 / lr_d, where the discriminator's own steps, psi <- (1 - h gamma) psi, start to overshoot. It uses only the
    observation, and does not know f'(0).

    `window`: decisions, less than half a period of the orbit at h = 0.2. `first`: gamma if it was 0. `tiny`: with
    smaller gradients and a penalty nothing remains to be done; without a penalty they may have vanished far away.
    """

    window: int = 24
    first: float = 0.25
    factor: float = 2.0
    target: float = 0.05
    tiny: float = 1e-6

    def required_knobs(self) -> frozenset[str]:
        return frozenset({"r1_gamma"})

    def initial(self, knobs: Any) -> State:
        return {"norms": [], "slope": None, "power": self.factor}

    def update(self, state: State, observation: Observation) -> Turn[State]:
        knobs, signals = observation.knobs, observation.signals
        if signals.gradient_norm_g is None or signals.gradient_norm_d is None:
            return Turn(knobs, state)
        size = math.hypot(signals.gradient_norm_g, signals.gradient_norm_d)
        norms = [*state["norms"], math.log(max(size, 1e-30))]
        if len(norms) < self.window:
            return Turn(knobs, {**state, "norms": norms})
        slope, power = fit_slope(norms), state["power"]
        if slope < -self.target or (size < self.tiny and knobs.r1_gamma):
            return Turn(knobs, {**state, "norms": []})
        if state["slope"] is not None and slope > state["slope"]:
            power = 1 / power
        gamma = knobs.r1_gamma * power if knobs.r1_gamma else self.first
        gamma = min(gamma, 1 / knobs.lr_d)
        why = {"r1_gamma": f"log |gradients| changes by {slope:.3g} per step"}
        return Turn(dataclasses.replace(knobs, r1_gamma=gamma), {"norms": [], "slope": slope, "power": power}, why)


def fit_slope(values: list[float]) -> float:
    """Return the slope of the least-squares line."""
    centre = (len(values) - 1) / 2
    return sum((at - centre) * value for at, value in enumerate(values)) / sum(
        (at - centre) ** 2 for at in range(len(values))
    )


@dataclass(frozen=True)
class Disturbed:
    """A controller with disturbances: delayed or noisy observations, or a sudden change of the learning rates.

    `noise`: standard deviation of the logarithm of a factor on both gradient norms. `delay`: in decisions. `jump`:
    (step, learning rate of both networks from there on).
    """

    controller: AnyController
    noise: float = 0.0
    delay: int = 0
    jump: tuple[int, float] | None = None

    def required_knobs(self) -> frozenset[str]:
        return self.controller.required_knobs() | ({"lr_g", "lr_d"} if self.jump else set())

    def initial(self, knobs: Any) -> State:
        return {"inner": self.controller.initial(knobs), "delayed": []}

    def update(self, state: State, observation: Observation) -> Turn[State]:
        delayed = [*state["delayed"], observation.signals]
        signals = delayed[0]
        if self.noise and signals.gradient_norm_g is not None and signals.gradient_norm_d is not None:
            source = random.Random(observation.step)
            factors = [math.exp(source.gauss(0, self.noise)) for _ in range(2)]
            signals = dataclasses.replace(
                signals,
                gradient_norm_g=signals.gradient_norm_g * factors[0],
                gradient_norm_d=signals.gradient_norm_d * factors[1],
            )
        turn = self.controller.update(state["inner"], dataclasses.replace(observation, signals=signals))
        knobs, why = turn.knobs, dict(turn.reasons)
        if self.jump and observation.step >= self.jump[0]:
            knobs = dataclasses.replace(knobs, lr_g=self.jump[1], lr_d=self.jump[1])
            why |= dict.fromkeys(("lr_g", "lr_d"), "sudden change of the system")
        remaining = delayed[1:] if len(delayed) > self.delay else delayed
        return Turn(knobs, {"inner": turn.state, "delayed": remaining}, why)


EVALUATE_EVERY = 25
"""Steps between two evaluations of the metric."""
DAMPING_OF_AUGMENTATION = 1.25
"""gamma of augment_p = 1: the best constant gamma, 1, is reached at augment_p = 0.8."""


@dataclass(frozen=True, eq=False)
class Supplied:
    """A controller with the signals that the Dirac-GAN lacks, and with augmentation.

    The exact weights give `rank_train_held_out` = tanh |psi|, since the slope of the discriminator is what must not be
    too large, and the metric |theta|, every 25 steps. augment_p acts as the penalty 1.25 p: noise on the inputs of the
    discriminator is a penalty of its gradient (Roth 2017, equation 7). `weights`: returns (theta, psi). `augments`: the
    controller sees augment_p and not r1_gamma. `noise`: standard deviation of the rank. `delay`: of it, in decisions.
    """

    controller: AnyController
    weights: Callable[[], tuple[float, float]]
    augments: bool
    noise: float = 0.0
    delay: int = 0

    def required_knobs(self) -> frozenset[str]:
        return frozenset({"lr_g", "lr_d", "r1_gamma"})

    def initial(self, knobs: Any) -> State:
        inner = AdversarialKnobs(lr_g=knobs.lr_g, lr_d=knobs.lr_d, r1_gamma=knobs.r1_gamma)
        return {"inner": self.controller.initial(inner), "p": 0.0, "ranks": [], "metric": None, "at": 0}

    def update(self, state: State, observation: Observation) -> Turn[State]:
        theta, psi = self.weights()
        noise = random.Random(observation.step).gauss(0, self.noise) if self.noise else 0.0
        ranks = [*state["ranks"], math.tanh(abs(psi)) + noise][-self.delay - 1 :]
        is_due = observation.step % EVALUATE_EVERY == 0 and observation.step > 0
        metric, at = (abs(theta), observation.step) if is_due else (state["metric"], state["at"])
        metrics = {} if metric is None else {"distance": MetricReading(metric, observation.step - at)}
        signals = dataclasses.replace(observation.signals, rank_train_held_out=ranks[0], metrics=metrics)
        knobs, p = observation.knobs, state["p"]
        inner = AdversarialKnobs(lr_g=knobs.lr_g, lr_d=knobs.lr_d, r1_gamma=knobs.r1_gamma, augment_p=p)
        turnable = frozenset({"lr_g", "lr_d", "augment_p" if self.augments else "r1_gamma"})
        seen = dataclasses.replace(observation, signals=signals, knobs=inner, turnable=turnable)
        turn = self.controller.update(state["inner"], seen)
        wanted = turn.knobs.values()
        p = wanted["augment_p"]
        gamma = DAMPING_OF_AUGMENTATION * p if self.augments else wanted["r1_gamma"]
        values = dataclasses.replace(knobs, lr_g=wanted["lr_g"], lr_d=wanted["lr_d"], r1_gamma=gamma)
        why = dict(turn.reasons) | ({"r1_gamma": turn.reasons.get("augment_p", "")} if self.augments else {})
        return Turn(values, {"inner": turn.state, "p": p, "ranks": ranks, "metric": metric, "at": at}, why)
