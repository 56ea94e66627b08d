"""Short runs to train policies on: an experiment, some of whose settings are drawn from lists.

[task]                                      # as in the file of an experiment
data = { name = "equipoise.meta.points" }
[vary]
"data.shape" = ["moons", "spirals"]
"knobs.lr_d" = [1e-3, 4e-3]
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from equipoise.errors import SettingError
from equipoise.experiment import Experiment, from_values

TEST = ("digits", "openmoji", "stacked_digits")
"""Data on which controllers are judged: no policy may have seen them."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """`task`: settings of an experiment. `vary`: "setting.option" -> what it is drawn from, all alike."""

    task: Mapping[str, Any]
    vary: Mapping[str, Sequence[Any]]

    def draw(self, source: np.random.Generator) -> Experiment:
        """One task. Raises EquipoiseError for settings that cannot be."""
        values = copy.deepcopy(dict(self.task))
        for name in sorted(self.vary):
            choices = self.vary[name]
            _put(values, name, choices[int(source.integers(len(choices)))])
        values["seed"] = int(source.integers(2**31))
        return from_values({"repair": False, "threads": 1, **values}, "the plan's task")

    def drawn(self, count: int, *seed: int) -> list[Experiment]:
        """So many tasks; the same seed draws the same."""
        source = np.random.default_rng(seed)
        return [self.draw(source) for _ in range(count)]


def check_apart(tasks: Sequence[Tasks]) -> None:
    """Raise SettingError if data are among them on which controllers are judged."""
    for one in tasks:
        data = one.task.get("data")
        names = [data if isinstance(data, str) else (data or {}).get("name"), *one.vary.get("data.name", ())]
        for name in names:
            if str(name).partition(":")[0] in TEST:
                raise SettingError(f"'{name}' is kept for judging controllers; train policies on other data")


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    """Set "table.key" of nested tables."""
    *tables, key = name.split(".")
    for table in tables:
        inner = values.setdefault(table, {})
        if not isinstance(inner, dict):
            raise SettingError(f"'{name}' is to be drawn, but {table} = {inner!r} is no table; write it as one")
        values = inner
    values[key] = value
