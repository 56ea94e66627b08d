"""The generators that the explorer has opened, and what it computed of them once. Imports torch."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from equipoise.errors import RunError, SettingError
from equipoise.inference.generator import Generator, load
from equipoise.inference.latent_space import SampleId
from equipoise.inference.run_weights import StepChoice, files_of_selection
from equipoise.inference.spaces import SampleReference
from equipoise.runs.run import EXPERIMENT_FILE, Run

MAX_GENERATORS = 3
"""Number of generators that stay in memory."""

T = TypeVar("T")
Stamp = tuple[int, ...]
"""Times of the files that the weights of a step come from."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenRun:
    """The generator of a run at one step. `folder`: as the user named it. `step`: None for the final weights."""

    folder: Path
    step: StepChoice | None
    generator: Generator
    _computed: dict[object, object] = field(default_factory=dict)

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """Return what `compute` returned when it was first called for `key`."""
        if key not in self._computed:
            self._computed[key] = compute()
        return cast("T", self._computed[key])


class OpenRuns:
    """The generators that were used last. A run that was trained further or changed is loaded again."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[Path, StepChoice | None], tuple[Stamp, OpenRun]] = OrderedDict()

    def open(self, folder: Path, step: StepChoice | None) -> OpenRun:
        """Return the generator of a run. Raises the errors of `inference.generator.load`."""
        key, stamp = (folder, step), _stamp(folder, step)
        known = self._runs.pop(key, None)
        run = known[1] if known is not None and known[0] == stamp else OpenRun(folder, step, load(folder, step))
        self._runs[key] = (stamp, run)
        while len(self._runs) > MAX_GENERATORS:
            self._runs.popitem(last=False)
        return run


def parse_names(names: tuple[str, ...], files: Mapping[str, Path]) -> list[SampleReference]:
    """Return samples by their names: SEED/NUMBER, or @NAME of a file. Raises SettingError for an unknown one."""
    result: list[SampleReference] = []
    for name in names:
        if name.startswith("@"):
            if name[1:] not in files:
                raise SettingError(f"{name} is gone, since the explorer was restarted; load the file or picture again")
            result.append(files[name[1:]])
        else:
            seed, _, number = name.partition("/")
            result.append(SampleId(int(seed), int(number)))
    return result


def _stamp(folder: Path, step: StepChoice | None) -> Stamp:
    """Return the times of the files that decide which weights a step selects. Raises RunError for a deleted run."""
    if not (folder / EXPERIMENT_FILE).is_file():
        raise RunError(f"the run {folder} does not exist any more; list the runs again")
    return tuple(map(_time, files_of_selection(Run(folder), step)))


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
