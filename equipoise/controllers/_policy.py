"""What all controllers with a learned policy do alike: look, decide when it is time, and say where the knobs stand.

A policy stands on a controller below it, whose own course goes on as if the policy were not there: what that wants is
remembered, and heads move it. With every head at 0 the knobs are those of the controller below, bit for bit.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from equipoise.controllers._below import controller_below
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Controller, ControllerState, Observation, Turn
from equipoise.errors import SettingError
from equipoise.policy.actions import Head, confined, knobs_of, moved, placed
from equipoise.policy.features import unseen
from equipoise.policy.files import Policy, Read, read
from equipoise.policy.network import Floats

RATES = frozenset({"lr_g", "lr_d"})
"""They act in every game."""
Action = Sequence[float] | Floats


@dataclass(frozen=True, eq=False)
class Steering:
    """A policy, its heads as far as they may turn, and the controller below; None leaves knobs as the user set them.

    `owner`: how the policy is called in messages and reasons. `asked`: knobs that were asked for by name; others are
    left alone where they do not act.
    """

    policy: Policy
    heads: tuple[Head, ...]
    below: Controller | None
    owner: str
    asked: frozenset[str] = frozenset()

    @classmethod
    def of(cls, policy: Policy, owner: str, knobs: Sequence[str] | None = None) -> "Steering":
        """On the controller that the policy stands on. Raises SettingError for one of `knobs` that it does not turn."""
        heads = confined(policy.heads, knobs, f"the policy '{owner}'")
        return cls(policy, heads, controller_below(policy.base), owner, frozenset(knobs or ()))

    def turns(self) -> frozenset[str]:
        """The knobs that were asked for by name, learning rates, and what the controller below cannot do without."""
        theirs = self.below.turns() if self.below else frozenset()
        return self.asked | theirs | (knobs_of(self.heads) & RATES)

    def initial(self, knobs: Knobs) -> dict[str, Any]:
        """Heads at 0, nothing seen."""
        return {
            "below": dict(self.below.initial(knobs)) if self.below else {},
            "stands": knobs.values(),
            "begun": False,
            "positions": [0.0] * len(self.heads),
            "features": dict(unseen()),
            "decided": 0.0,
        }

    def look(self, state: ControllerState, observation: Observation[Any]) -> "Look":
        """What there is to be seen, and where the controller below wants the knobs.

        Raises SettingError if there is nothing to turn here.
        """
        knobs, below, why = self._lower(state, observation)
        acting = frozenset(knob for knob in knobs_of(self.heads) if observation.acts(knob))
        if not acting and self.below is None:
            known = ", ".join(sorted(knobs_of(self.heads)))
            raise SettingError(f"the policy '{self.owner}' turns {known}, none of which acts here; choose another")
        seen = self.policy.sees.see(state["features"], observation, state["positions"])
        clock = float(observation.progress if self.policy.every < 1 else observation.step)
        decided = min(state["decided"], clock)  # progress goes back where a run is resumed with more steps
        due = observation.step > 0 and clock - decided >= self.policy.every - 1e-9
        kept = {**state, "below": below, "stands": knobs.values(), "begun": True, "features": dict(seen.memory)}
        return Look(seen.vector, due, knobs, kept | {"decided": clock if due else decided}, why, acting)

    def decided(self, look: "Look", action: Action | None, reward: float | None = None) -> Turn:
        """The turn that an action (k,) comes to; None leaves the heads where they are."""
        state, positions = look.state, look.state["positions"]
        if action is not None:
            positions = moved(self.heads, positions, action)
        values: dict[str, Any] = placed(self.heads, positions, look.knobs, look.acting)
        why = dict.fromkeys(look.knobs.ranges(), "where the controller below has it") | dict(look.why)
        for head, position in zip(self.heads, positions, strict=True):
            why |= dict.fromkeys(head.knobs, f"{self.owner}: {head.name} at {position:+.2f}")
        knobs: Any = dataclasses.replace(look.knobs, **values)
        return Turn(knobs, {**state, "positions": positions}, why, reward)

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """What the controller below wants, moved by what the policy decides when it is time."""
        look = self.look(state, observation)
        return self.decided(look, self.policy.actor(look.vector) if look.due else None)

    def act(self, state: ControllerState, observation: Observation[Any], action: Action) -> Turn:
        """An action (k,) from elsewhere, upon an observation that `state` has in it already."""
        knobs = observation.knobs.with_values(state["stands"])
        acting = frozenset(knob for knob in knobs_of(self.heads) if observation.acts(knob))
        return self.decided(Look((), True, knobs, dict(state), {}, acting), action)

    def _lower(
        self, state: ControllerState, observation: Observation[Any]
    ) -> tuple[Knobs, dict[str, Any], Mapping[str, str]]:
        """The controller below, on knobs that it alone has turned: what it wants, what it remembers, and why."""
        stood = observation.knobs.with_values(state["stands"])
        if self.below is None:
            return stood, {}, {}
        turn = self.below.update(state["below"], dataclasses.replace(observation, knobs=stood))
        if state["begun"]:
            return stood.clamped(turn.knobs), dict(turn.state), turn.why
        start = {name: range.clamp(getattr(turn.knobs, name)) for name, range in stood.ranges().items()}
        return stood.with_values(start), dict(turn.state), turn.why


class Look(NamedTuple):
    """What a policy sees and whether it is to decide; `knobs`: what the controller below wants, and `why`.

    `state`: all that is to be remembered but for where the heads come to stand. `acting`: the heads' knobs that act.
    """

    vector: tuple[float, ...]
    due: bool
    knobs: Knobs
    state: dict[str, Any]
    why: Mapping[str, str]
    acting: frozenset[str]


def opened(word: str, digest: str | None, features: str | None = None) -> Read:
    """The policy of a name or a file, which must be the one with this digest, and see these features.

    Raises SettingError if it is not.
    """
    result = read(word)
    if features is not None and result.policy.features != features:
        raise SettingError(
            f"the policy '{word}' sees the features '{result.policy.features}', not '{features}' as this controller "
            f"does; use one that was trained on those"
        )
    if digest is not None and result.digest != digest:
        raise SettingError(
            f"the policy '{word}' has the digest {result.digest[:12]}…, not {digest[:12]}… as the run began with; "
            "put the old file back, or train anew"
        )
    return result
