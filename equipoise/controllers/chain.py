"""Several controllers at once, each as if it were alone; their changes of the same knob are combined.

knob = base · Π_i (k_i / base)          on a logarithmic scale, k_i: the value that controller i requests
knob = base + Σ_i (k_i - base)          on other scales
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, ClassVar, cast

from equipoise.core import catalog
from equipoise.core.controller import (
    AnyController,
    RunFacts,
    Turn,
    renamed,
    request,
    resolve_controller,
    scheduled_knobs,
)
from equipoise.core.knobs import KnobRange, Knobs
from equipoise.core.observations import Observation
from equipoise.errors import SettingError

__all__ = ["Chain"]


@dataclass(frozen=True)
class LinkState:
    """State of one controller of the chain. `changes`: values of the knobs that it moved from the base, by name."""

    state: object
    changes: Annotated[Mapping[str, float], renamed("changes", "moved")]


@dataclass(frozen=True)
class ChainState:
    """State of a chain. `base`: the user's values. `has_started`: False before the first decision."""

    base: Mapping[str, float]
    has_started: Annotated[bool, renamed("has_started", "begun")]
    links: tuple[LinkState, ...]


@dataclass(frozen=True)
class Chain:
    """Controller that runs several others, each of which observes the knobs as if it alone had changed them.

    A knob that one controller moves from the user's base has that value. Where several move it, the changes are
    combined: factors on the base multiply on a logarithmic scale, as for the overrides of a repair; differences add on
    other scales. Where the base is 0 (off), the last controller wins.

    `of`: names of controllers, with presets, separated by commas. `settings`: options of these, by name as in `of`; the
    digests of learned policies are filled in by the program.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "r3gan": {"of": ("annealed:r3gan", "rank")},
    }

    of: tuple[str, ...] = ("annealed", "rank")
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.of:
            raise SettingError("a chain needs at least one controller, such as of = rank,annealed:cosine")
        for name in self.settings:
            if name not in self.of:
                raise SettingError(
                    f"settings for '{name}', which is not in the chain {','.join(self.of)}; add it to 'of'"
                )
        digests = {name: _digest(member) for name, member in zip(self.of, self.members, strict=True)}
        options = {name: {**self.settings.get(name, {}), **digest} for name, digest in digests.items() if digest}
        object.__setattr__(self, "settings", {**self.settings, **options})
        self.required_knobs()

    @cached_property
    def members(self) -> tuple[AnyController, ...]:
        """Build the controllers. Raises EquipoiseError for unknown names and options."""
        return tuple(catalog.build("controllers", name, self.settings.get(name)) for name in self.of)

    def required_knobs(self) -> frozenset[str]:
        """Return all knobs that any of the controllers requires."""
        return frozenset().union(*(member.required_knobs() for member in self.members))

    def scheduled_knobs(self) -> frozenset[str]:
        """Return the knobs with a schedule that none of the other controllers requires."""
        by_member = [scheduled_knobs(member) for member in self.members]
        decided = [
            member.required_knobs() - scheduled for member, scheduled in zip(self.members, by_member, strict=True)
        ]
        return frozenset().union(*by_member) - frozenset().union(*decided)

    def resolve(self, facts: RunFacts) -> "Chain":
        """Return the chain with the options of its controllers that depend on facts of the run, in `settings`."""
        options = {
            name: {**self.settings.get(name, {}), **changes}
            for name, member in zip(self.of, self.members, strict=True)
            if (changes := _changed_options(member, resolve_controller(member, facts)))
        }
        return dataclasses.replace(self, settings={**self.settings, **options}) if options else self

    def initial(self, knobs: Knobs) -> ChainState:
        """Return the initial states of all controllers; the user's values are their common base."""
        links = tuple(LinkState(member.initial(knobs), {}) for member in self.members)
        return ChainState(knobs.values(), has_started=False, links=links)

    def update(self, state: ChainState, observation: Observation) -> Turn[ChainState]:
        """Let every controller decide, and combine the decisions."""
        base = observation.knobs.with_values(state.base)
        links: list[LinkState] = []
        rewards: list[float] = []
        reasons: dict[str, str] = {}
        for name, member, link in zip(self.of, self.members, state.links, strict=True):
            before = base.with_values(link.changes)
            turn = member.update(link.state, dataclasses.replace(observation, knobs=before))
            after = before.step_towards(turn.knobs) if state.has_started else base.with_values(_in_range(turn.knobs))
            changes = {knob: value for knob, (_, value) in base.differences(after).items()}
            links.append(LinkState(turn.state, changes))
            rewards += [] if turn.reward is None else [turn.reward]
            for knob, text in turn.reasons.items():
                reasons[knob] = f"{reasons[knob]}; {name}: {text}" if knob in reasons else f"{name}: {text}"
        values = {name: combine(name, base, [link.changes for link in links]) for name in state.base}
        state = ChainState(state.base, has_started=True, links=tuple(links))
        return Turn(request(base, values), state, reasons, sum(rewards) if rewards else None)


def combine(name: str, base: Knobs, changes: Sequence[Mapping[str, float]]) -> float:
    """Return the value of a knob under the changes of all controllers."""
    start: float = getattr(base, name)
    requested = [change[name] for change in changes if name in change]
    if len(requested) < 2:
        return requested[0] if requested else start
    range: KnobRange = base.ranges()[name]
    value = start
    for target in requested:
        value = _add_change(range, start, value, target)
    return value


def _add_change(range: KnobRange, start: float, value: float, target: float) -> float:
    if range.scale != "log":
        return value + target - start
    return value * target / start if start > 0 else target


def _digest(member: AnyController) -> dict[str, str]:
    """Return the digest of a controller's policy, as an option; empty for a controller without a policy."""
    digest = getattr(member, "digest", None)
    return {"digest": cast(str, digest)} if digest else {}


def _changed_options(member: AnyController, resolved: AnyController) -> dict[str, object]:
    """Return the options that differ between two controllers of one class; empty for the same controller."""
    if resolved is member or not dataclasses.is_dataclass(resolved):
        return {}
    values = {option.name: getattr(resolved, option.name) for option in dataclasses.fields(resolved)}
    return {name: value for name, value in values.items() if value != getattr(member, name)}


def _in_range(knobs: Knobs) -> dict[str, float]:
    """Return the values of a first decision, clamped to their ranges; `max_change` does not limit it."""
    return {name: range.clamp(getattr(knobs, name)) for name, range in knobs.ranges().items()}
