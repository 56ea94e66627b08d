"""Distributions of short runs on which policies are trained: an experiment with some settings sampled.

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

import numpy as np

from equipoise.errors import SettingError
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import Experiment, PlugSpec

TEST_DATA = ("digits", "openmoji", "stacked_digits", "ring", "grid")
"""Data sets on which controllers are compared. Policies must not be trained on them, under any name or path."""


@dataclass(frozen=True, slots=True)
class TaskDistribution:
    """A distribution of experiments. `task`: settings of an experiment. `vary`: "setting.option" -> values that are
    sampled uniformly."""

    task: Mapping[str, object]
    vary: Mapping[str, Sequence[object]]

    def sample(self, generator: np.random.Generator) -> Experiment:
        """Sample one task. Raises EquipoiseError for invalid settings."""
        values = {name: self.vary[name][int(generator.integers(len(self.vary[name])))] for name in sorted(self.vary)}
        return self._build(values, int(generator.integers(2**31)))

    def sample_many(self, count: int, *seed: int) -> list[Experiment]:
        """Sample `count` tasks; the same seed gives the same tasks."""
        generator = np.random.default_rng(seed)
        return [self.sample(generator) for _ in range(count)]

    def single_changes(self) -> Iterator[tuple[str, Experiment]]:
        """Yield tasks with descriptions: the first value of each list, then each other value, one changed at a time.

        Raises EquipoiseError for a setting that does not exist.
        """
        first = self._first_values()
        yield "the first value of each list", self._build(first, 0)
        for name, choices in self.vary.items():
            for choice in choices[1:]:
                yield f"{name} = {choice!r}", self._build({**first, name: choice}, 0)

    def data(self) -> Iterator[PlugSpec]:
        """Yield all data sets that may be sampled."""
        names = sorted(name for name in self.vary if name.partition(".")[0] == "data")
        for values in itertools.product(*(self.vary[name] for name in names)):
            data_values = dict(zip(names, values, strict=True))
            if (data := self._build({**self._first_values(), **data_values}, 0).data) is not None:
                yield data

    def _first_values(self) -> dict[str, object]:
        return {name: choices[0] for name, choices in self.vary.items()}

    def _build(self, values: Mapping[str, object], seed: int) -> Experiment:
        settings = copy.deepcopy(dict(self.task))
        for name in sorted(values):
            _set_value(settings, name, values[name])
        return parse_experiment({"repair": False, "threads": 1, **settings, "seed": seed}, "the plan's task")


def check_training_data(distributions: Sequence[TaskDistribution]) -> None:
    """Raise SettingError if controllers are compared on any of the data."""
    for distribution in distributions:
        for data in distribution.data():
            if data.name.partition(":")[0].rpartition(".")[2] in TEST_DATA:
                raise SettingError(
                    f"'{data.name}' is reserved for comparisons of controllers; train policies on other data"
                )


def _set_value(settings: dict[str, object], name: str, value: object) -> None:
    """Set "table.key" in nested tables."""
    *tables, key = name.split(".")
    for table in tables:
        inner = settings.setdefault(table, {})
        if not isinstance(inner, dict):
            raise SettingError(
                f"'{name}' varies an option of {table} = {inner!r}, which is not a table; write it as a table"
            )
        settings = inner
    settings[key] = value
