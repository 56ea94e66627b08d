"""The tasks of the suite, read from TOML, and the checks that keep training and test tasks apart."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from equipoise.errors import SettingError, UnknownNameError

Half = Literal["training", "test"]
Values = Mapping[str, Any]
"""A table of a TOML file."""
HALVES: tuple[Half, ...] = get_args(Half)
SECTIONS = ("regimes", "defaults", *HALVES)


@dataclass(frozen=True)
class SuiteTask:
    """A task. `half`: arms are tuned on training tasks and compared on test tasks. `training_images`: None for all.

    `options`: of the model. `knobs`: values that replace the published ones, as short runs need. `regime`: name of a
    regime. `factors`: of the regime, multiples of those values. `data`: data set, which has the options of SuiteData.
    """

    name: str
    half: Half
    source: str
    steps: int
    image_size: int = 16
    training_images: int | None = None
    model: str = "dcgan"
    options: Values = field(default_factory=dict)
    knobs: Mapping[str, float] = field(default_factory=dict)
    regime: str = "published"
    factors: Mapping[str, float] = field(default_factory=dict)
    batch_size: int = 32
    data: str = "equipoise.comparison.suite.data"

    def data_options(self, draw: int) -> Values:
        """Return the options of the task's data. `draw`: seed of the choice of samples."""
        return {
            "source": self.source,
            "image_size": self.image_size,
            "training_images": self.training_images,
            "draw": draw,
        }


@dataclass(frozen=True)
class Suite:
    """All tasks, in the order of the file. Raises SettingError if both halves share a task or a source of data."""

    tasks: tuple[SuiteTask, ...]

    def __post_init__(self) -> None:
        training, test = self.half("training"), self.half("test")
        if shared := sorted({task.name for task in training} & {task.name for task in test}):
            raise SettingError(f"task '{shared[0]}' is in [training] and in [test]; a task belongs to one half")
        if shared := sorted({task.source for task in training} & {task.source for task in test}):
            raise SettingError(
                f"the source '{shared[0]}' is in [training] and in [test]; tasks of one source belong to one half, so "
                "that arms are compared on data that no tuning has seen"
            )

    def half(self, half: Half) -> tuple[SuiteTask, ...]:
        """Return the tasks of a half."""
        return tuple(task for task in self.tasks if task.half == half)

    def task(self, name: str) -> SuiteTask:
        """Return a task by name; raises UnknownNameError."""
        tasks = {task.name: task for task in self.tasks}
        if name not in tasks:
            raise UnknownNameError("task", name, tasks)
        return tasks[name]


def load_suite(path: Path) -> Suite:
    """Read a suite from TOML. Raises SettingError, naming the file and the task, for anything that is not valid."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path} is not valid TOML: {error}") from error
    if unknown := sorted(values.keys() - set(SECTIONS)):
        raise SettingError(f"{path}: there is no section '{unknown[0]}'; a suite has {', '.join(SECTIONS)}")
    tasks = [
        _parse_task(path, half, name, {**values.get("defaults", {}), **entry}, values.get("regimes", {}))
        for half in HALVES
        for name, entry in values.get(half, {}).items()
    ]
    return Suite(tuple(tasks))


def _parse_task(path: Path, half: Half, name: str, values: Values, regimes: Mapping[str, Values]) -> SuiteTask:
    allowed = {entry.name for entry in fields(SuiteTask)} - {"name", "half", "factors"}
    if unknown := sorted(values.keys() - allowed):
        raise SettingError(f"{path}: task '{name}' has no setting '{unknown[0]}'; it has {', '.join(sorted(allowed))}")
    if missing := sorted({"source", "steps"} - values.keys()):
        raise SettingError(f"{path}: task '{name}' has no {missing[0]}")
    regime = values.get("regime", "published")
    if regime not in regimes:
        raise SettingError(f"{path}: task '{name}' has the regime '{regime}', which is not in [regimes]")
    changes = regimes[regime]
    options = {**values.get("options", {}), **changes.get("options", {})}
    return SuiteTask(
        **{**values, "name": name, "half": half, "options": options, "factors": changes.get("factors", {})}
    )
