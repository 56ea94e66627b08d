"""Interface of controllers: two pure functions of an explicit, typed state, and the state as JSON.

state = controller.initial(knobs)
turn = controller.update(state, observation)        # turn.knobs, turn.state, turn.reasons
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pydantic import AliasChoices, Field, TypeAdapter

from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Turn(Generic[S]):
    """One decision of a controller.

    `knobs`: the requested values, before ranges and limits are applied. `state`: the new state of the controller.
    `reasons`: knob -> why it has this value. `reward`: the reward of the previous decision, for controllers that
    compute one; None otherwise.
    """

    knobs: Knobs
    state: S
    reasons: Mapping[str, str] = field(default_factory=dict)
    reward: float | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of a run before it starts.

    `steps`: of the run; None while a time budget has not been measured. `training_samples`, `held_out_samples`: the
    number of different samples; None for an endless source.
    """

    steps: int | None
    batch_size: int
    training_samples: int | None
    held_out_samples: int | None

    @property
    def epochs(self) -> float | None:
        """How often the run sees each training sample; None if the steps or the samples are not known."""
        if self.steps is None or not self.training_samples:
            return None
        return self.steps * self.batch_size / self.training_samples


class Controller(Protocol[S]):
    """A frozen dataclass whose fields are its hyperparameters, with a state of type `S`.

    The state is a frozen dataclass of numbers, strings, tuples, mappings and other such dataclasses, so that it can
    be written to JSON. `initial` and `update` are pure: a decision depends on the state and the observation alone, so
    that a log of observations reproduces every decision.
    """

    def required_knobs(self) -> frozenset[str]:
        """Return the names of the knobs without which the controller cannot work.

        If one of them has no effect in a model, an error is raised before the run starts. Other knobs are changed
        only where `observation.acts(knob)` is true.
        """

    def initial(self, knobs: Knobs) -> S:
        """Return the state before the first decision. `knobs`: the values that the user set."""

    def update(self, state: S, observation: Observation) -> Turn[S]:
        """Return the decision for one observation."""


AnyController = Controller[Any]
"""A controller with any type of state, such as one that was built by name."""


def scheduled_knobs(controller: AnyController) -> frozenset[str]:
    """Return the knobs that a controller changes by a schedule (open loop): functions of the progress alone.

    A controller declares them with an optional method of the same name; without it there are none. Their changes are
    logged as all changes are, but not printed.
    """
    declared: Callable[[], frozenset[str]] | None = getattr(controller, "scheduled_knobs", None)
    return declared() if declared else frozenset()


def resolve_controller(controller: AnyController, facts: RunFacts) -> AnyController:
    """Return a controller whose options at None are filled in with the facts of a run.

    A controller that has such options declares an optional method `resolve(facts)`, which returns a copy; another one
    is returned as it is. The options are written to the run's settings, so that a replay needs nothing else.
    """
    resolve: Callable[[RunFacts], AnyController] | None = getattr(controller, "resolve", None)
    return resolve(facts) if resolve else controller


def request(knobs: Knobs, values: Mapping[str, float]) -> Knobs:
    """Return `knobs` with other values, unchecked: the pilot applies ranges and limits to requests."""
    unchecked: dict[str, Any] = dict(values)
    return dataclasses.replace(knobs, **unchecked)


def renamed(name: str, *older_names: str) -> object:
    """Annotate a field of a state that older versions wrote to JSON under another name: `Annotated[T, renamed(…)]`."""
    return Field(validation_alias=AliasChoices(name, *older_names))


def state_to_json(state: object) -> dict[str, object]:
    """Return the state of a controller as JSON values."""
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        values: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(state)))
        return values
    if isinstance(state, Mapping):  # a custom controller may use a mapping
        return dict(state)
    raise TypeError(f"the state of a controller must be a dataclass or a mapping, not {type(state).__name__}")


def state_from_json(initial: S, values: Mapping[str, object]) -> S:
    """Return the state that :func:`state_to_json` wrote.

    `initial`: the initial state of the same controller, which provides the types, including those of the states of
    nested controllers. Raises pydantic.ValidationError if a value is missing or has another type.
    """
    result: S = _typed(initial, values)
    return result


def _typed(template: Any, value: Any) -> Any:
    """Convert `value` to the type of `template`, recursively. A field declared as `object` gets the template's type."""
    if dataclasses.is_dataclass(template) and not isinstance(template, type):
        names = [item.name for item in dataclasses.fields(template)]
        if isinstance(value, Mapping):
            if names == ["base"] and "base" not in value:  # earlier versions of `annealed` wrote only the mapping
                value = {"base": value}
            value = TypeAdapter(type(template)).validate_python(value)
        fields = {name: _typed(getattr(template, name), getattr(value, name)) for name in names}
        return dataclasses.replace(value, **fields)
    if isinstance(template, tuple) and isinstance(value, tuple) and len(template) == len(value):
        return tuple(_typed(part, item) for part, item in zip(template, value, strict=True))
    return value
