"""The controller behind `learnable`, `time_only` and `ppo`: a policy adjusts the requests of a base controller.

The base controller runs as if it were alone. Its requests are part of the state, and the heads of the policy adjust
them. With every head at 0 the knobs are those of the base controller, bit for bit.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, Protocol

from equipoise.core import catalog
from equipoise.core.controller import AnyController, RunFacts, Turn, renamed, request, scheduled_knobs
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation
from equipoise.errors import SettingError
from equipoise.policy.actions import Head, apply_heads, head_knobs, move_heads, restrict_heads
from equipoise.policy.files import LoadedPolicy, Policy, load_policy
from equipoise.policy.network import FloatArray
from equipoise.policy.running_statistics import FeatureMemory

RATES = frozenset({"lr_g", "lr_d"})
"""Knobs that act in every model."""

Action = Sequence[float] | FloatArray


class NeedsFacts(Protocol):
    """A controller whose policy may use facts of a run: see FeatureSet.compute."""

    @property
    def features(self) -> str:
        """Name of the feature set."""

    @property
    def epochs(self) -> float | None:
        """How often the run sees each training sample."""

    @property
    def held_out_samples(self) -> int | None:
        """Number of held-out samples."""


class PolicyFacts(NamedTuple):
    """What a policy may know before a run; None for unknown. The same options as in :class:`NeedsFacts`."""

    epochs: float | None
    held_out_samples: int | None


@dataclass(frozen=True)
class PolicyState:
    """State of the policy and of its base controller.

    `base_state`: state of the base controller; None without one. `base_knobs`: the values that it requests.
    `has_started`: False before the first decision, which `max_change` does not limit. `positions`: of the heads, (k,)
    in [-1, 1]. `features`: memory of the features. `last_decision`: progress or step of the last decision of the
    policy.
    """

    base_state: Annotated[object, renamed("base_state", "below")]
    base_knobs: Annotated[Mapping[str, float], renamed("base_knobs", "stands")]
    has_started: Annotated[bool, renamed("has_started", "begun")]
    positions: tuple[float, ...]
    features: FeatureMemory
    last_decision: Annotated[float, renamed("last_decision", "decided")]


class PolicyInput(NamedTuple):
    """Inputs of a decision of a policy. `features`: (n,) in [-1, 1]. `is_due`: whether a decision is due.

    `knobs` and `reasons`: those of the base controller. `state`: the new state, with the positions of the heads before
    the decision. `acting`: knobs of the heads that have an effect in the model.
    """

    features: tuple[float, ...]
    is_due: bool
    knobs: Knobs
    state: PolicyState
    reasons: Mapping[str, str]
    acting: frozenset[str]


@dataclass(frozen=True, eq=False)
class LearnedController:
    """Controller that follows a policy on top of its base controller, or of the user's values if it has none.

    `heads`: heads of the policy, restricted to the knobs that they may change. `owner`: name of the policy in messages
    and reasons. `explicit`: knobs that the user named, which must act; other knobs that do not act are skipped.
    `facts`: what the features may know before the run; see FeatureSet.compute.
    """

    policy: Policy
    heads: tuple[Head, ...]
    base: AnyController | None
    owner: str
    explicit: frozenset[str] = frozenset()
    facts: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        policy: Policy,
        owner: str,
        knobs: Sequence[str] | None = None,
        facts: Mapping[str, float | None] | None = None,
    ) -> "LearnedController":
        """Build the controller of a policy. Raises SettingError for one of `knobs` that the policy does not change."""
        heads = restrict_heads(policy.heads, knobs, f"the policy '{owner}'")
        base = None if policy.base == "fixed" else catalog.build("controllers", policy.base)
        known = {name: value for name, value in (facts or {}).items() if value is not None}
        return cls(policy, heads, base, owner, frozenset(knobs or ()), known)

    def required_knobs(self) -> frozenset[str]:
        """Return the knobs named by the user, the learning rates of the heads, and those that the base requires."""
        base_knobs = self.base.required_knobs() if self.base else frozenset()
        return self.explicit | base_knobs | (head_knobs(self.heads) & RATES)

    @property
    def changed_knobs(self) -> frozenset[str]:
        """The knobs that the policy changes, or its base by a schedule."""
        return head_knobs(self.heads) | self.scheduled_knobs()

    def scheduled_knobs(self) -> frozenset[str]:
        """Return the knobs that the base changes by a schedule, and the policy does not change."""
        return (scheduled_knobs(self.base) if self.base else frozenset()) - head_knobs(self.heads)

    def initial(self, knobs: Knobs) -> PolicyState:
        """Return the state before the first decision: all heads at 0, no features."""
        return PolicyState(
            base_state=self.base.initial(knobs) if self.base else None,
            base_knobs=knobs.values(),
            has_started=False,
            positions=(0.0,) * len(self.heads),
            features=FeatureMemory(),
            last_decision=0.0,
        )

    def observe(self, state: PolicyState, observation: Observation) -> PolicyInput:
        """Advance the base controller and the features by one observation.

        Raises SettingError if no knob of the policy acts.
        """
        knobs, base_state, reasons = self._advance_base(state, observation)
        acting = frozenset(knob for knob in head_knobs(self.heads) if observation.acts(knob))
        if not acting and self.base is None:
            names = ", ".join(sorted(head_knobs(self.heads)))
            raise SettingError(
                f"the policy '{self.owner}' changes {names}, none of which acts here; choose another policy"
            )
        features, memory = self.policy.feature_set.compute(state.features, observation, state.positions, self.facts)
        clock = float(observation.progress if self.policy.every < 1 else observation.step)
        last = min(state.last_decision, clock)  # progress decreases where a run is resumed with more steps
        is_due = observation.step > 0 and clock - last >= self.policy.every - 1e-9
        updated = PolicyState(
            base_state, knobs.values(), True, state.positions, memory, last_decision=clock if is_due else last
        )
        return PolicyInput(features, is_due, knobs, updated, reasons, acting)

    def follow(self, inputs: PolicyInput) -> Action | None:
        """Return the action (k,) of the policy: None between decisions, zeros where its guard forbids it to act."""
        if not inputs.is_due:
            return None
        if not self.policy.feature_set.allows_action(inputs.state.features):
            return (0.0,) * len(self.heads)
        return self.policy.actor(inputs.features)

    def decide(self, inputs: PolicyInput, action: Action | None, reward: float | None = None) -> Turn[PolicyState]:
        """Return the turn that applies an action (k,); None does not move the heads."""
        positions = inputs.state.positions
        if action is not None:
            positions = tuple(move_heads(self.heads, positions, action))
        values = apply_heads(self.heads, positions, inputs.knobs, inputs.acting)
        reasons = dict.fromkeys(inputs.knobs.ranges(), "value of the base controller") | dict(inputs.reasons)
        for head, position in zip(self.heads, positions, strict=True):
            reasons |= dict.fromkeys(head.knobs, f"{self.owner}: {head.name} at {position:+.2f}")
        state = dataclasses.replace(inputs.state, positions=positions)
        return Turn(request(inputs.knobs, values), state, reasons, reward)

    def update(self, state: PolicyState, observation: Observation) -> Turn[PolicyState]:
        """Return the request of the base controller, adjusted by the policy."""
        inputs = self.observe(state, observation)
        return self.decide(inputs, self.follow(inputs))

    def act(self, state: PolicyState, observation: Observation, action: Action) -> Turn[PolicyState]:
        """Return the turn that applies an action (k,) of the caller; `state` includes the observation already."""
        knobs = observation.knobs.with_values(state.base_knobs)
        acting = frozenset(knob for knob in head_knobs(self.heads) if observation.acts(knob))
        return self.decide(PolicyInput((), True, knobs, state, {}, acting), action)

    def _advance_base(self, state: PolicyState, observation: Observation) -> tuple[Knobs, object, Mapping[str, str]]:
        """Update the base controller on the knobs as it has changed them; returns its request, state and reasons."""
        before = observation.knobs.with_values(state.base_knobs)
        if self.base is None:
            return before, None, {}
        turn = self.base.update(state.base_state, dataclasses.replace(observation, knobs=before))
        if state.has_started:
            return before.step_towards(turn.knobs), turn.state, turn.reasons
        start = {name: range.clamp(getattr(turn.knobs, name)) for name, range in before.ranges().items()}
        return before.with_values(start), turn.state, turn.reasons


def known_facts(controller: NeedsFacts) -> dict[str, float | None]:
    """Return the facts that the options of a controller contain."""
    return {"epochs": controller.epochs, "held_out_samples": controller.held_out_samples}


def resolve_facts(controller: NeedsFacts, facts: RunFacts) -> PolicyFacts:
    """Return the facts of a run for the options of a controller, if the features of its policy use them."""
    known = PolicyFacts(controller.epochs, controller.held_out_samples)
    if controller.features != "suite":
        return known
    epochs = facts.epochs if known.epochs is None else known.epochs
    held_out = facts.held_out_samples if known.held_out_samples is None else known.held_out_samples
    return PolicyFacts(epochs, held_out or None)


def open_policy(name: str, digest: str | None, features: str | None = None) -> LoadedPolicy:
    """Load a policy by its name or file.

    Raises SettingError if its digest is not `digest`, or its feature set is not `features` (None: any).
    """
    result = load_policy(name)
    if features is not None and result.policy.features != features:
        raise SettingError(
            f"the policy '{name}' uses the features '{result.policy.features}', but this controller needs "
            f"'{features}'; choose a policy that was trained on those"
        )
    if digest is not None and result.digest != digest:
        raise SettingError(
            f"the policy '{name}' has the digest {result.digest[:12]}…, but the run started with {digest[:12]}…; "
            "restore the old file, or train a new run"
        )
    return result
