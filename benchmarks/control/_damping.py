"""A closed loop for the Dirac-GAN, and what may lie between a loop and its plant: noise, delay, a jump of the plant."""

import dataclasses
import math
import random
from dataclasses import dataclass
from typing import Any

from equipoise.core.observations import Controller, ControllerState, Observation, Turn


@dataclass(frozen=True)
class Damping:
    """Turns r1_gamma until the players' gradients shrink fast enough: perturb and observe.

    Each window it fits the slope of log |gradients| (both players'). While they shrink by less than `wanted` a step,
    gamma goes on by the same factor as long as that helps, and the other way when it does not: the rate of decay has
    one optimum in gamma, for less swings and more creeps. gamma stays below 1 / lr_d, where the discriminator's own
    steps, psi <- (1 - h gamma) psi, begin to overshoot. It sees an observation, and does not know f'(0).

    `window`: decisions, less than half a turn of the orbit at h = 0.2. `first`: gamma when it was off. `tiny`: with
    gradients below this, and a penalty on, nothing is left to be done; without one they may have vanished far away.
    """

    window: int = 24
    first: float = 0.25
    factor: float = 2.0
    wanted: float = 0.05
    tiny: float = 1e-6

    def turns(self) -> frozenset[str]:
        return frozenset({"r1_gamma"})

    def initial(self, knobs: Any) -> ControllerState:
        return {"seen": [], "slope": None, "power": self.factor}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        knobs, signals = observation.knobs, observation.signals
        if signals.gradient_norm_g is None or signals.gradient_norm_d is None:
            return Turn(knobs, state)
        size = math.hypot(signals.gradient_norm_g, signals.gradient_norm_d)
        seen = [*state["seen"], math.log(max(size, 1e-30))]
        if len(seen) < self.window:
            return Turn(knobs, {**state, "seen": seen})
        slope, power = fitted(seen), state["power"]
        if slope < -self.wanted or (size < self.tiny and knobs.r1_gamma):
            return Turn(knobs, {**state, "seen": []})
        if state["slope"] is not None and slope > state["slope"]:
            power = 1 / power
        gamma = knobs.r1_gamma * power if knobs.r1_gamma else self.first
        gamma = min(gamma, 1 / knobs.lr_d)
        why = {"r1_gamma": f"log |gradients| changes by {slope:.3g} a step"}
        return Turn(dataclasses.replace(knobs, r1_gamma=gamma), {"seen": [], "slope": slope, "power": power}, why)


def fitted(values: list[float]) -> float:
    """The slope of the least-squares line."""
    centre = (len(values) - 1) / 2
    return sum((at - centre) * value for at, value in enumerate(values)) / sum(
        (at - centre) ** 2 for at in range(len(values))
    )


@dataclass(frozen=True)
class Disturbed:
    """A controller whose world is not as it was: what it sees comes late or noisy, or the learning rates jump.

    `noise`: standard deviation of the logarithm of a factor on both gradient norms. `delay`: in decisions. `jump`:
    (step, learning rate of both players from there on).
    """

    controller: Controller
    noise: float = 0.0
    delay: int = 0
    jump: tuple[int, float] | None = None

    def turns(self) -> frozenset[str]:
        return self.controller.turns() | ({"lr_g", "lr_d"} if self.jump else set())

    def initial(self, knobs: Any) -> ControllerState:
        return {"inner": dict(self.controller.initial(knobs)), "late": []}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        late = [*state["late"], observation.signals]
        signals = late[0]
        if self.noise and signals.gradient_norm_g is not None and signals.gradient_norm_d is not None:
            source = random.Random(observation.step)
            factors = [math.exp(source.gauss(0, self.noise)) for _ in range(2)]
            signals = dataclasses.replace(
                signals,
                gradient_norm_g=signals.gradient_norm_g * factors[0],
                gradient_norm_d=signals.gradient_norm_d * factors[1],
            )
        turn = self.controller.update(state["inner"], dataclasses.replace(observation, signals=signals))
        knobs, why = turn.knobs, dict(turn.why)
        if self.jump and observation.step >= self.jump[0]:
            knobs = dataclasses.replace(knobs, lr_g=self.jump[1], lr_d=self.jump[1])
            why |= dict.fromkeys(("lr_g", "lr_d"), "the plant jumped")
        kept = late[1:] if len(late) > self.delay else late
        return Turn(knobs, {"inner": turn.state, "late": kept}, why)
