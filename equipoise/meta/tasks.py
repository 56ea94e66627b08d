"""Short runs to train policies on: an experiment, some of whose settings are drawn from lists.

[task]                                      # as in the file of an experiment
data = { name = "equipoise.meta.points" }
[vary]
"data.shape" = ["moons", "spirals"]
"knobs.lr_d" = [1e-3, 4e-3]
"""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from equipoise.errors import SettingError
from equipoise.experiment.settings import Experiment, PlugSpec, from_values

TEST = ("digits", "openmoji", "stacked_digits", "ring", "grid")
"""Data on which controllers are judged: no policy may have seen them, by whatever path they are named."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """`task`: settings of an experiment. `vary`: "setting.option" -> what it is drawn from, all alike."""

    task: Mapping[str, Any]
    vary: Mapping[str, Sequence[Any]]

    def draw(self, source: np.random.Generator) -> Experiment:
        """One task. Raises EquipoiseError for settings that cannot be."""
        chosen = {name: self.vary[name][int(source.integers(len(self.vary[name])))] for name in sorted(self.vary)}
        return self._made(chosen, int(source.integers(2**31)))

    def drawn(self, count: int, *seed: int) -> list[Experiment]:
        """So many tasks; the same seed draws the same."""
        source = np.random.default_rng(seed)
        return [self.draw(source) for _ in range(count)]

    def every(self) -> Iterator[tuple[str, Experiment]]:
        """Each single choice of the lists in turn, beside the first of all others, and what it is.

        Raises EquipoiseError for a setting that there is not.
        """
        plain = {name: choices[0] for name, choices in self.vary.items()}
        yield "the first of each list", self._made(plain, 0)
        for name, choices in self.vary.items():
            for choice in choices[1:]:
                yield f"{name} = {choice!r}", self._made({**plain, name: choice}, 0)

    def data(self) -> Iterator[PlugSpec]:
        """All data that may be drawn."""
        names = sorted(name for name in self.vary if name.partition(".")[0] == "data")
        for chosen in itertools.product(*(self.vary[name] for name in names)):
            plain = {name: choices[0] for name, choices in self.vary.items()}
            if (data := self._made({**plain, **dict(zip(names, chosen, strict=True))}, 0).data) is not None:
                yield data

    def _made(self, chosen: Mapping[str, Any], seed: int) -> Experiment:
        values = copy.deepcopy(dict(self.task))
        for name in sorted(chosen):
            _put(values, name, chosen[name])
        return from_values({"repair": False, "threads": 1, **values, "seed": seed}, "the plan's task")


def check_apart(tasks: Sequence[Tasks]) -> None:
    """Raise SettingError if data are among them on which controllers are judged."""
    for one in tasks:
        for data in one.data():
            if data.name.partition(":")[0].rpartition(".")[2] in TEST:
                raise SettingError(f"'{data.name}' is kept for judging controllers; train policies on other data")


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    """Set "table.key" of nested tables."""
    *tables, key = name.split(".")
    for table in tables:
        inner = values.setdefault(table, {})
        if not isinstance(inner, dict):
            raise SettingError(f"'{name}' is to be drawn, but {table} = {inner!r} is no table; write it as one")
        values = inner
    values[key] = value
