"""The generators that the explorer has opened, and what it computed of them once. Imports torch."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from equipoise.errors import RunError, SettingError
from equipoise.inference.generator import Generator, load
from equipoise.inference.latent_space import SampleId
from equipoise.inference.run_weights import StepChoice
from equipoise.inference.spaces import SampleReference
from equipoise.runs.annotations import CHOSEN_FILE
from equipoise.runs.run import CHECKPOINTS_FOLDER, EVENTS_FILE, EXPERIMENT_FILE, Run
from equipoise.training import checkpoint
from equipoise.training.weight_files import weights_path

MOST_GENERATORS = 3
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
        while len(self._runs) > MOST_GENERATORS:
            self._runs.popitem(last=False)
        return run


def available_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints of a run, ascending."""
    return [int(path.name.removeprefix("step-")) for path in checkpoint.find(Run(folder).checkpoints)]


def parse_names(names: tuple[str, ...], projections: Mapping[str, Path]) -> list[SampleReference]:
    """Return samples by their names: SEED/NUMBER, or @JOB of a projection. Raises SettingError for an unknown job."""
    result: list[SampleReference] = []
    for name in names:
        if name.startswith("@"):
            if name[1:] not in projections:
                raise SettingError(f"there is no projection {name}; project the picture again")
            result.append(projections[name[1:]])
        else:
            seed, _, number = name.partition("/")
            result.append(SampleId(int(seed), int(number)))
    return result


def _stamp(folder: Path, step: StepChoice | None) -> Stamp:
    """Return the times of the files that decide which weights a step selects. Raises RunError for a deleted run."""
    checkpoints = folder / CHECKPOINTS_FOLDER
    own = {"best": EVENTS_FILE, "chosen": CHOSEN_FILE}.get(str(step))
    if isinstance(step, int):
        paths = [checkpoints / checkpoint.folder_name(step)]
    else:
        paths = [checkpoints, *([folder / own] if own else [])]
    if not (folder / EXPERIMENT_FILE).is_file():
        raise RunError(f"the run {folder} does not exist any more; list the runs again")
    return tuple(map(_time, (folder / EXPERIMENT_FILE, weights_path(folder, "generator"), *paths)))


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
