"""What the knobs of a run's model mean, in RUN/knobs.json: written at the start, read without importing the model."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from equipoise.core.knobs import AdversarialKnobs, KnobRange, Knobs, Scale
from equipoise.runs.artifacts import write_text

KNOBS_FILE = "knobs.json"


def record_knobs(folder: Path, knobs: Knobs) -> None:
    """Write range, unit, scale and help of each knob. Raises OSError if the folder cannot be written."""
    values = {name: asdict(range) for name, range in knobs.ranges().items()}
    write_text(folder / KNOBS_FILE, json.dumps(values, indent=2) + "\n")


def read_knob_ranges(folder: Path) -> Mapping[str, KnobRange]:
    """Return the range of each knob of a run; of a run of an earlier version, of the knobs that most models have."""
    try:
        values = json.loads((folder / KNOBS_FILE).read_text(encoding="utf-8"))
        return {str(name): _range(value) for name, value in values.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return AdversarialKnobs.ranges()


def _range(values: Mapping[str, object]) -> KnobRange:
    """Raises TypeError or ValueError for values that are not those of a range."""
    range = KnobRange(**values)  # type: ignore[arg-type]
    numbers = (range.low, range.high, 0.0 if range.max_change is None else range.max_change)
    texts = (range.unit, range.help)
    is_valid = all(isinstance(number, int | float) for number in numbers) and all(isinstance(t, str) for t in texts)
    if not is_valid or range.scale not in get_args(Scale) or not isinstance(range.can_be_off, bool):
        raise ValueError("not a range")
    return range
