"""The state of a pilot, and its JSON form in checkpoints."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from equipoise.core.controller import AnyController, state_from_json, state_to_json
from equipoise.core.knobs import Knobs
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.remedies import RepairState
from equipoise.diagnosis.signals import SignalWindow
from equipoise.errors import SettingError


class MetricValue(NamedTuple):
    """A metric: its value, the images seen when it was evaluated, and which direction is better."""

    value: float
    images: int
    better: Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class PilotState:
    """State of a pilot, without the window of the steps since the last reading.

    `knobs`: the effective values. `target`: the values that the controller requests, without the overrides of a repair.
    `controller`: the state of the controller. `repair`: overrides and past remedies. `metrics`: the last value of each
    metric. `history`: of the signals, for the diagnosis. `manual`: the knobs that a person holds, above controller and
    repair, and their values.
    """

    knobs: Knobs
    target: Knobs
    controller: object
    repair: RepairState = field(default_factory=RepairState)
    metrics: Mapping[str, MetricValue] = field(default_factory=dict)
    history: SignalHistory = field(default_factory=SignalHistory)
    manual: Mapping[str, float] = field(default_factory=dict)


class ControllerSpec(NamedTuple):
    """Name and options of a controller, as JSON values."""

    name: str
    options: Mapping[str, object]


SavedOptimizerSettings = Mapping[str, Sequence[tuple[float, tuple[float, float] | None]]]
"""Player -> learning rate and betas of each group of its optimizer."""
CoupledBetas = Mapping[str, Sequence[Sequence[str]]]
"""Player -> the betas of each group that change with their knob."""


@dataclass(frozen=True, slots=True)
class SavedPilot:
    """State of a pilot as JSON values.

    `phases`: phase -> names and counts of the statistics whose tensors are saved. `settings`: of the optimizers.
    `controller_spec` and `coupled_betas` are None in states of early versions. `manual` is not saved if it is empty.
    """

    knobs: Mapping[str, float]
    target: Mapping[str, float]
    repair: Mapping[str, object]
    controller: Mapping[str, object]
    metrics: Mapping[str, MetricValue]
    history: Mapping[str, object]
    phases: Mapping[str, tuple[tuple[str, ...], int | tuple[int, ...]]]
    controller_spec: ControllerSpec | None = None
    settings: SavedOptimizerSettings = field(default_factory=dict)
    coupled_betas: CoupledBetas | None = None
    manual: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, object]) -> "SavedPilot":
        """Validate JSON values, also those of earlier versions. Raises pydantic.ValidationError."""
        return TypeAdapter(cls).validate_python(_with_present_names(values))

    def to_dict(self) -> dict[str, object]:
        """Return JSON values."""
        values: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(self)))
        spec = self.controller_spec
        if not self.manual:
            del values["manual"]
        return {**values, "controller_spec": spec and spec._asdict()}


def save_state(
    state: PilotState,
    controller: AnyController,
    window: SignalWindow,
    settings: SavedOptimizerSettings,
    coupled_betas: CoupledBetas,
) -> SavedPilot:
    """Return the JSON form of a pilot; the tensors of its window are saved separately."""
    return SavedPilot(
        knobs=state.knobs.values(),
        target=state.target.values(),
        repair=state.repair.to_dict(),
        controller=state_to_json(state.controller),
        metrics=state.metrics,
        history=state.history.to_dict(),
        phases={name: (stats.names, stats.counts) for name, stats in window.phases.items()},
        controller_spec=controller_spec(controller),
        settings=settings,
        coupled_betas=coupled_betas,
        manual=state.manual,
    )


def load_state(saved: SavedPilot, base: Knobs, controller: AnyController) -> PilotState:
    """Rebuild a state; `base`: the user's knobs. Raises SettingError if it belongs to another controller."""
    if saved.controller_spec is not None:
        check_same_controller(saved.controller_spec, controller)
    return PilotState(
        knobs=base.with_values(saved.knobs),
        target=base.with_values(saved.target),
        controller=state_from_json(controller.initial(base), saved.controller),
        repair=RepairState.from_dict(saved.repair),
        metrics=saved.metrics,
        history=SignalHistory.from_dict(saved.history),
        manual=saved.manual,
    )


def controller_name(controller: AnyController) -> str:
    """Return the name of a controller: the name of its class, in lower case with underscores."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", type(controller).__name__).lower()


def controller_spec(controller: AnyController) -> ControllerSpec:
    """Return the name and options of a controller; a controller that is not a dataclass has no options."""
    options: Mapping[str, object] = {}
    if dataclasses.is_dataclass(controller) and not isinstance(controller, type):
        options = json.loads(json.dumps(dataclasses.asdict(controller), default=str))
    return ControllerSpec(controller_name(controller), options)


def check_same_controller(saved: ControllerSpec, controller: AnyController) -> None:
    """Raise SettingError if a saved state belongs to another controller, or to other options.

    Options that a later version added are not compared.
    """
    present = controller_spec(controller)
    if saved.name != present.name:
        raise SettingError(
            f"the saved state belongs to the controller '{saved.name}', not to '{present.name}'; use '{saved.name}'"
        )
    for option, value in saved.options.items():
        if present.options.get(option) != value:
            raise SettingError(
                f"the saved state belongs to '{present.name}' with {option} = {value}, not "
                f"{present.options.get(option)}; use the same options"
            )


RENAMED = {"wish": "target", "chart": "repair", "identity": "controller_spec", "following": "coupled_betas"}
"""Key of earlier versions -> present key."""


def _with_present_names(values: Mapping[str, object]) -> dict[str, object]:
    """Return the JSON values of an earlier version with the present names."""
    result = {RENAMED.get(name, name): value for name, value in values.items()}
    repair = result.get("repair")
    if isinstance(repair, Mapping) and "given" in repair:
        names = {"anew": "restarted"}
        applied = [{names.get(name, name): value for name, value in remedy.items()} for remedy in repair["given"]]
        result["repair"] = {"overrides": repair["overrides"], "applied": applied, "lost_steps": repair["lost"]}
    spec = result.get("controller_spec")
    if isinstance(spec, Mapping):
        result["controller_spec"] = (spec["name"], spec["options"])
    return result
