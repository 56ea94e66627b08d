"""Short runs in other processes: each one a call of a backend, whose result is a file.

Only runs that are trained one by one are divided: perceptrons train in stacks, whose size changes the last bit of their
results, so that a training would depend on the number of processes.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from equipoise.core.controller import AnyController
from equipoise.errors import RunError
from equipoise.experiment.settings import Experiment
from equipoise.jobs.backend import Backend, Call, execute_calls
from equipoise.meta.episodes import EpisodeResult, is_stacked, play_episodes
from equipoise.runs.artifacts import write_text

PRELOADED_MODULES = ("equipoise.meta.episodes", "torch._dynamo")
"""Modules that the server of processes imports; see job_calls of comparisons."""


@dataclass(slots=True)
class EpisodePlayer:
    """Plays episodes in this process, or in those of a backend. Mutable: counts their CPU seconds since `take_cpu`."""

    backend: Backend | None = None
    _cpu: float = field(default=0.0)

    def play(self, experiments: Sequence[Experiment], controllers: Sequence[AnyController]) -> list[EpisodeResult]:
        """Return the results of play_episodes, the same for any backend. Raises RunError if a process fails."""
        if self.backend is None or self.backend.slots < 2 or is_stacked(experiments[0]):
            return play_episodes(experiments, controllers)
        with tempfile.TemporaryDirectory(prefix="equipoise-") as folder:
            paths = [Path(folder) / f"{number}.json" for number in range(len(experiments))]
            calls = [
                Call(f"episode {number}", _play_and_write, (*pair, paths[number]), paths[number].with_suffix(".log"))
                for number, pair in enumerate(zip(experiments, controllers, strict=True))
            ]
            for ended in execute_calls(self.backend, _CallList(calls)):
                self._cpu += ended.cpu
                if ended.code:
                    lines = [
                        line for line in ended.call.output.read_text(errors="replace").splitlines() if line.strip()
                    ]
                    reason = lines[-1].strip() if lines else f"its process ended with exit code {ended.code}"
                    raise RunError(f"{ended.call.name} failed: {reason}; completed parts are saved")
            return [_read(path) for path in paths]

    def take_cpu(self) -> float:
        """Return the CPU seconds of other processes since the last time."""
        cpu, self._cpu = self._cpu, 0.0
        return cpu


@dataclass(slots=True)
class _CallList:
    calls: list[Call]

    @property
    def is_empty(self) -> bool:
        return not self.calls

    def take(self) -> Call | None:
        return self.calls.pop(0) if self.calls else None


def _play_and_write(
    experiment: Experiment, controller: AnyController, path: Path, interrupted: Callable[[], bool]
) -> bool:
    """Play an episode and write its result. An interrupted one starts again later."""
    (result,) = play_episodes([experiment], [controller])
    write_text(path, json.dumps({"distances": result.distances, "diverged": result.diverged}))
    return not interrupted()


def _read(path: Path) -> EpisodeResult:
    values = json.loads(path.read_text())
    return EpisodeResult(tuple((int(step), float(value)) for step, value in values["distances"]), values["diverged"])
