"""Several controllers at once, each as if it were alone; where two turn one knob, what they do to it adds up."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, cast

from equipoise.core import catalog
from equipoise.core.knobs import Knobs, Range
from equipoise.core.observations import Controller, ControllerState, Observation, Turn
from equipoise.errors import SettingError

__all__ = ["Chain"]


@dataclass(frozen=True)
class Chain:
    """Each of the controllers sees the knobs as it alone left them, and keeps a state of its own.

    A knob that one of them moves away from the user's base stands where that one wants it. One that several move goes
    as far as all of them together: on a logarithmic scale their factors on the base multiply, as with the overrides of
    a repair, on others their differences add. Where the base is off, the last one wins.

    `of`: names of controllers, with presets, between commas. `settings`: options of theirs, by name as in `of`; the
    digests of policies that they follow are written in by the program.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "r3gan": {"of": ("annealed:r3gan", "rank")},
    }

    of: tuple[str, ...] = ("annealed", "rank")
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.of:
            raise SettingError("a chain is of at least one controller: of = rank,annealed:cosine")
        for name in self.settings:
            if name not in self.of:
                raise SettingError(f"settings for '{name}', which is not in the chain {','.join(self.of)}")
        pinned = {name: _digest(member) for name, member in zip(self.of, self.members, strict=True)}
        told = {name: {**self.settings.get(name, {}), **digest} for name, digest in pinned.items() if digest}
        object.__setattr__(self, "settings", {**self.settings, **told})
        self.turns()

    @cached_property
    def members(self) -> tuple[Controller, ...]:
        """The controllers themselves. Raises EquipoiseError for names and options that do not exist."""
        return tuple(catalog.build("controllers", name, self.settings.get(name)) for name in self.of)

    def turns(self) -> frozenset[str]:
        """All that any of them cannot do without."""
        return frozenset().union(*(member.turns() for member in self.members))

    def initial(self, knobs: Knobs) -> ControllerState:
        """Each at its own start; where they want the knobs is the base for all."""
        links = [{"state": dict(member.initial(knobs)), "moved": {}} for member in self.members]
        return {"base": knobs.values(), "begun": False, "links": links}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """A decision of each, and what they come to together."""
        base = observation.knobs.with_values(state["base"])
        links, stands, rewards = [], [], []
        why: dict[str, str] = {}
        for name, member, link in zip(self.of, self.members, state["links"], strict=True):
            mine = base.with_values(link["moved"])
            turn = member.update(link["state"], dataclasses.replace(observation, knobs=mine))
            there = mine.clamped(turn.knobs) if state["begun"] else base.with_values(_in_range(turn.knobs))
            moved = {knob: after for knob, (_, after) in base.differences(there).items()}
            links.append({"state": dict(turn.state), "moved": moved})
            stands.append(moved)
            rewards.append(turn.reward)
            for knob, text in turn.why.items():
                why[knob] = f"{why[knob]}; {name}: {text}" if knob in why else f"{name}: {text}"
        values = {name: _together(name, base, stands) for name in state["base"]}
        paid = [reward for reward in rewards if reward is not None]
        state = {"base": state["base"], "begun": True, "links": links}
        return Turn(dataclasses.replace(base, **values), state, why, sum(paid) if paid else None)


def _digest(member: Controller) -> dict[str, str]:
    """The digest of the policy that a link follows, as an option; nothing for one that follows none."""
    options = {one.name: getattr(member, one.name) for one in dataclasses.fields(cast(Any, member))}
    return {"digest": options["digest"]} if options.get("digest") else {}


def _in_range(knobs: Knobs) -> dict[str, float]:
    """A first decision is a setting, which limits on moves do not bind."""
    return {name: range.clamp(getattr(knobs, name)) for name, range in knobs.ranges().items()}


def _together(name: str, base: Knobs, stands: Sequence[Mapping[str, float]]) -> float:
    """Where a knob stands when all who move it have their way."""
    start: float = getattr(base, name)
    wished = [moved[name] for moved in stands if name in moved]
    if len(wished) < 2:
        return wished[0] if wished else start
    range: Range = base.ranges()[name]
    value = start
    for wish in wished:
        value = _joined(range, start, value, wish)
    return value


def _joined(range: Range, start: float, value: float, wish: float) -> float:
    if range.scale != "log":
        return value + wish - start
    return value * wish / start if start > 0 else wish
