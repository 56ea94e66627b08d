"""What became of each run: a row, made from its folder and the looks at it alone."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, Literal

from equipoise.comparison import follow, looks, planned
from equipoise.comparison.folder import Folder
from equipoise.comparison.looks import Look
from equipoise.comparison.plan import Plan
from equipoise.comparison.planned import Planned
from equipoise.core.observations import SERIOUS
from equipoise.runs import run_folder as runs

COLLAPSES = ("collapse", "mode_collapse", "mode_dropping")
"""Findings that tell of lost variety."""
LATE = 0.8
"""Progress from which on a run is in its last fifth."""
HALF = 0.5

State = Literal["ended", "diverged", "failed", "unfinished"]


@dataclass(frozen=True, slots=True)
class Row:
    """A run. Numbers are None where there are none; scores are from 0 to 1, see scores.py.

    `score`: what counts by the plan's snapshot, 0 if the run diverged or could not be run, None without the anchors
    that scores stand between. `value`: of the reported metric, by the same snapshot, None unless the run ended; `last`,
    `best`, `last_fifth` and `spread` (standard deviation over the last fifth): scores.
    `collapse`: share of readings in the second half that found lost variety. `lost`: steps lost by rolling back.
    """

    name: str
    task: str
    regime: str
    arm: str
    seed: int
    trial: int | None
    state: State
    score: float | None
    value: float | None
    metric: str
    better: str
    last: float | None
    best: float | None
    last_fifth: float | None
    spread: float | None
    cpu: float | None
    seconds: float | None
    steps: int
    collapse: float | None
    verdict: str | None
    rollbacks: int
    lost: int
    looks: tuple[tuple[int, float, float], ...]
    """(step, score, CPU seconds) of each look"""
    also: Mapping[str, float]
    experiment: str | None
    """SHA-256 of experiment.json"""
    weights: str | None
    """SHA-256 of generator.safetensors"""

    @property
    def setting(self) -> str:
        """Task and regime, as the names of folders have them."""
        return planned.Setting(self.task, self.regime).name

    @property
    def counts(self) -> bool:
        """Whether there is anything to count: the run has ended, or could not be run, and its score is known."""
        return self.state != "unfinished" and self.score is not None

    @property
    def scored(self) -> float:
        """The score of a run that counts."""
        assert self.score is not None, f"{self.name} has no score"
        return self.score


def rows(plan: Plan, folder: Folder) -> list[Row]:
    """A row a run, tests then trials, in the order of the plan."""
    return [row(plan, folder, run) for run in (*planned.tests(plan), *planned.trials(plan))]


def row(plan: Plan, folder: Folder, run: Planned) -> Row:
    """What became of a run."""
    path, anchors = folder.run(run), follow.read_anchors(folder, planned.anchored(plan, run.setting))
    lines = runs.Run(path).lines() if (path / runs.EXPERIMENT).exists() else []
    seen = [look for look in looks.recorded(folder.looks(run)) if look.value is not None]
    state, task = _state(plan, folder, run), planned.task_of(plan, run.setting)
    scored = [(look.step, anchors.score(look.value or 0.0), look.cpu) for look in seen] if anchors else []
    steps = int(json.loads((path / runs.EXPERIMENT).read_text())["steps"]) if lines else 0
    late = [place for place, look in enumerate(seen) if look.step >= LATE * steps]
    counting = late if plan.snapshot == "last_fifth" else [_place(plan, lines, seen)]
    last_fifth = [scored[place][1] for place in late] if anchors else []
    ended, counted = state == "ended", state == "ended" and anchors is not None
    return Row(
        name=run.name,
        task=run.setting.task,
        regime=run.setting.regime,
        arm=run.arm,
        seed=run.seed,
        trial=run.trial,
        state=state,
        score=fmean(scored[place][1] for place in counting) if counted else 0.0 if anchors else None,
        value=fmean(seen[place].value or 0.0 for place in counting) if ended else None,
        metric=task.reported.name,
        better=anchors.better if anchors else "",
        last=scored[-1][1] if counted else None,
        best=max(score for _, score, _ in scored) if counted else None,
        last_fifth=fmean(last_fifth) if counted else None,
        spread=pstdev(last_fifth) if counted and len(last_fifth) > 1 else None,
        cpu=seen[-1].cpu if ended else None,
        seconds=seen[-1].seconds if ended else None,
        steps=steps,
        collapse=_collapse(lines),
        verdict=lines[-1].get("verdict") if lines else None,
        rollbacks=sum(line["event"] == "remedied" and line.get("restored") is not None for line in lines),
        lost=sum(line["lost"] for line in lines if line["event"] == "remedied"),
        looks=tuple(scored),
        also=dict(seen[-1].also) if ended else {},
        experiment=_digest(path / runs.EXPERIMENT),
        weights=_digest(path / "generator.safetensors"),
    )


def write(path: Path, result: Sequence[Row]) -> None:
    """One JSON line a row."""
    runs.write_text(path, "".join(json.dumps(_plain(dataclasses.asdict(one))) + "\n" for one in result))


def _state(plan: Plan, folder: Folder, run: Planned) -> State:
    if follow.is_done(folder, planned.task_of(plan, run.setting), run):
        finished = follow.finish_of(runs.Run(folder.run(run)))
        return "diverged" if finished and finished["reason"] == "diverged" else "ended"
    return "failed" if folder.failed(run.name).exists() else "unfinished"


def _place(plan: Plan, lines: Sequence[runs.Line], seen: Sequence[Look]) -> int:
    """The place of the one look that counts: the last, or that of the best live metric."""
    measured = {line["step"]: line for line in lines if line["event"] == "evaluated"}
    if plan.snapshot != "best" or not measured:
        return -1
    live = [(float(measured[look.step]["value"]), place) for place, look in enumerate(seen) if look.step in measured]
    sign = 1 if next(iter(measured.values()))["better"] == "lower" else -1
    return min(((sign * value, place) for value, place in live if value == value), default=(0.0, -1))[1]


def _collapse(lines: Sequence[runs.Line]) -> float | None:
    """Share of the readings of the second half with a serious finding of lost variety."""
    readings = [line for line in lines if line["event"] == "sensed" and line["progress"] >= HALF]
    result = [
        any(one["symptom"] in COLLAPSES and one["severity"] >= SERIOUS for one in line["health"]["findings"])
        for line in readings
    ]
    return fmean(result) if result else None


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _plain(values: Any) -> Any:
    """As JSON has it."""
    if isinstance(values, float) and values - values != 0:
        return repr(values)
    if isinstance(values, Mapping):
        return {name: _plain(value) for name, value in values.items()}
    return values
