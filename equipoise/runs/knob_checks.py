"""Checks of a knob of a run from its folder alone, before a request is sent; the training itself checks again."""

import json
from pathlib import Path

from equipoise.core.knobs import check_turnable
from equipoise.errors import SettingError
from equipoise.runs.knob_record import read_knob_ranges
from equipoise.runs.run import EVENTS_FILE


def check_knob(folder: Path, knob: str, value: float | None, *, turnable: object, frozen: object) -> None:
    """Raise SettingError for a knob that does not act or is frozen, and for a value outside its range.

    `turnable`: of the line `started` of the log, None if unknown. `frozen`: the setting `freeze` of the run.
    """
    if isinstance(frozen, list | tuple) and knob in frozen:
        raise SettingError(f"{knob} is frozen in this run by --freeze")
    if isinstance(turnable, list | tuple) and turnable:
        check_turnable([knob], [str(name) for name in turnable], folder.name)
    range = read_knob_ranges(folder).get(knob)
    if value is not None and range is not None and not range.contains(value):
        raise SettingError(f"{knob} = {value:g} is outside its range: {range}")


def read_turnable(folder: Path) -> object:
    """Return the knobs that act in a run, as the first line of its log has them; None if it has none."""
    try:
        with (folder / EVENTS_FILE).open("rb") as file:
            line = json.loads(file.readline())
    except (OSError, ValueError, RecursionError):
        return None
    return line.get("turnable") if isinstance(line, dict) else None
