"""The knobs of a run as sliders show them: meaning, range, value, what the controller would have, who holds it."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from equipoise.core.events import MANUAL, REPAIR
from equipoise.core.knobs import KnobRange
from equipoise.runs.knob_record import read_knob_ranges
from equipoise.runs.log_lines import TurnRow
from equipoise.runs.run import CHECKPOINTS_FOLDER
from equipoise.runs.run_index import LiveRun
from equipoise.studio.curves import initial_knobs

SCALES: Mapping[str, str] = {"log_complement": "one_minus_log"}
"""Names of scales in the API, where they differ."""


@dataclass(frozen=True, slots=True)
class KnobState:
    """A knob of a run. `off`: 0 is allowed, too. `value`: in effect. `target`: of the controller, as the log has it.

    `manual`: the value that a person holds it at, None if nobody does. `acts`: whether it has an effect in the model.
    `frozen`: by --freeze.
    """

    name: str
    help: str
    low: float
    high: float
    off: bool
    unit: str
    scale: str
    value: float
    target: float
    manual: float | None
    acts: bool
    frozen: bool

    def to_json(self) -> dict[str, object]:
        """Return JSON values."""
        return dataclasses.asdict(self)


def knob_states(run: LiveRun, frozen: object) -> list[KnobState]:
    """Return the knobs of a run, in the order of their declaration. `frozen`: the names of the experiment."""
    ranges = read_knob_ranges(run.run.folder)
    values = initial_knobs(run)
    started = next(iter(run.log.events("started")), {})
    turnable, fixed = started.get("turnable"), frozen if isinstance(frozen, list) else []
    manual, targets = manual_values(run), dict(values)
    last: dict[str, TurnRow] = {}
    for turn in run.log.turns:
        values[turn.knob] = turn.after
        if turn.by not in (MANUAL, REPAIR):
            last[turn.knob] = turn
    targets |= {knob: turn.after / _repair_factor(run, ranges.get(knob), turn) for knob, turn in last.items()}
    targets |= {**_saved_targets(run.run.folder), **_targets_while_held(run)} if manual else {}
    order = [name for name in ranges if name in values] + [name for name in values if name not in ranges]
    result = []
    for name in order:
        range = ranges.get(name) or _observed_range(run, name, values[name])
        result.append(
            KnobState(
                name,
                *(range.help, range.low, range.high, range.can_be_off, range.unit),
                SCALES.get(range.scale, range.scale),
                values[name],
                targets.get(name, values[name]),
                manual.get(name),
                not isinstance(turnable, list) or name in turnable,
                name in fixed,
            )
        )
    return result


def manual_values(run: LiveRun) -> dict[str, float]:
    """Return the knobs that a person holds now, and their values."""
    result: dict[str, float] = {}
    for line in run.log.events("requested"):
        knob, value = str(line.get("knob", "")), line.get("value")
        if line.get("refused"):
            continue
        if line.get("action") == "turn" and isinstance(value, int | float):
            result[knob] = float(value)
        elif line.get("action") == "release":
            result.pop(knob, None)
    return result


def _repair_factor(run: LiveRun, range: KnobRange | None, turn: TurnRow) -> float:
    """Return by what repair multiplies the controller's value of a knob at the step of a change: on log scales only."""
    result = 1.0
    if range is None or range.scale != "log":
        return result
    for line in run.log.events("remedied"):
        overrides = line.get("overrides")
        for item in overrides if isinstance(overrides, list) else []:
            value, base, until = (item.get(key) for key in ("value", "base", "until"))
            is_number = all(isinstance(number, int | float) and number > 0 for number in (value, base, until))
            if is_number and item.get("knob") == turn.knob and line["step"] <= turn.step < until:
                result = value / base  # the latest override of a knob replaces earlier ones
    return result


def _observed_range(run: LiveRun, name: str, value: float) -> KnobRange:
    """Return a range around all values of a knob whose range the run does not record."""
    values = [value, *(turn.after for turn in run.log.turns if turn.knob == name)]
    low, high = min(values), max(values)
    margin = 0.5 * (high - low) or abs(value) or 1.0
    return KnobRange(low - margin, high + margin, "", "linear", "a knob of this model; its range is not recorded")


def _targets_while_held(run: LiveRun) -> dict[str, float]:
    """Return the controller's values of the knobs that were held at the latest reading."""
    count = len(run.log.readings)
    try:
        held = run.log.reading(count - 1).get("held") if count else None
    except ValueError:
        return {}
    values = held.items() if isinstance(held, Mapping) else ()
    return {str(name): float(value) for name, value in values if isinstance(value, int | float)}


def _saved_targets(folder: Path) -> dict[str, float]:
    """Return the controller's values in the latest checkpoint: before the first reading after a knob was held."""
    try:
        names = sorted(path.name for path in (folder / CHECKPOINTS_FOLDER).iterdir() if path.name.startswith("step-"))
        state = json.loads((folder / CHECKPOINTS_FOLDER / names[-1] / "state.json").read_text(encoding="utf-8"))
        target = state["pilot"]["target"]
        return {str(name): float(value) for name, value in target.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return {}
