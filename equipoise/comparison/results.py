"""Results of the runs of a comparison, computed from their folders and measurements alone."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Literal

from equipoise.comparison import execution, measurements, plan_runs
from equipoise.comparison.folder import ComparisonFolder, JsonContent
from equipoise.comparison.measurements import Measurement
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_runs import RunSpec
from equipoise.comparison.scores import Anchors
from equipoise.core.observations import SERIOUS
from equipoise.core.sampling_cost import SamplingCost
from equipoise.runs.artifacts import write_text
from equipoise.runs.run import EXPERIMENT_FILE, EventLine, Run

COLLAPSE_SYMPTOMS = ("collapse", "mode_collapse", "mode_dropping")
"""Symptoms that count as lost variety."""
LAST_FIFTH = 0.8
"""Progress at which the last fifth of a run starts."""
SECOND_HALF = 0.5
NOT_FINITE = {repr(value): value for value in (math.nan, math.inf, -math.inf)}
"""How a line of results.jsonl writes numbers that are not finite."""

RunStatus = Literal["ended", "diverged", "failed", "unfinished"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """Result of a run. Missing numbers are None; scores are from 0 to 1, see scores.py.

    `score`: by the snapshot of the plan; 0 if the run diverged or failed, None without anchors. `value`: the reported
    metric by the same snapshot, None unless the run ended. `last`, `best`, `last_fifth`, `spread` (standard deviation
    over the last fifth): scores. `collapse`: share of the readings of the second half with lost variety.
    `lost`: steps lost to rollbacks. `experiment`, `weights`: SHA-256 of experiment.json and generator.safetensors.
    """

    name: str
    task: str
    regime: str
    arm: str
    seed: int
    trial: int | None
    state: RunStatus
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
    curve: tuple[tuple[int, float, float], ...]
    """(step, score, CPU seconds) of each measurement"""
    also: Mapping[str, float]
    experiment: str | None
    weights: str | None
    sampling: SamplingCost | None = None
    """time that the samples of the last measurement took"""
    weights_count: int | None = None
    """number of weights that generate samples"""
    start_cpu: float = 0.0
    """CPU seconds of the runs that this one starts from, in addition to `cpu`"""
    model: str | None = None
    """name of the model, without the module path of this package"""
    trained_weights: int | None = None
    """number of weights of all networks that are trained"""

    @property
    def setting(self) -> str:
        """Task and regime, as in the names of folders."""
        return plan_runs.TaskSetting(self.task, self.regime).name

    @property
    def score_drop(self) -> float | None:
        """The difference of the best and the last score; None for a run that did not end, or was evaluated once."""
        return (
            self.best - self.last if self.best is not None and self.last is not None and len(self.curve) > 1 else None
        )

    @property
    def counts(self) -> bool:
        """Whether the run enters the statistics: it has ended or failed, and its score is known."""
        return self.state != "unfinished" and self.score is not None

    @property
    def known_score(self) -> float:
        """The score of a run that counts."""
        assert self.score is not None, f"{self.name} has no score"
        return self.score


def load_results(plan: ComparisonPlan, folder: ComparisonFolder) -> list[RunResult]:
    """Load the results of all runs, then of all tuning trials, in the order of the plan."""
    return [load_result(plan, folder, run) for run in (*plan_runs.compared_runs(plan), *plan_runs.tuning_runs(plan))]


def load_result(plan: ComparisonPlan, folder: ComparisonFolder, run: RunSpec) -> RunResult:
    """Load the result of a run."""
    path = folder.run(plan_runs.trained_run(plan, run))
    anchors = execution.read_anchors(folder, plan_runs.anchor_setting(plan, run.setting))
    lines = Run(path).lines() if (path / EXPERIMENT_FILE).exists() else []
    measured = [one for one in measurements.read_measurements(folder.measurements(run)) if one.value is not None]
    state = _state(plan, folder, run)
    steps, model = _length_and_model(path) if lines else (0, None)
    late = [index for index, measurement in enumerate(measured) if measurement.step >= LAST_FIFTH * steps]
    snapshot = late if plan.snapshot == "last_fifth" else [_snapshot_index(plan, lines, measured)]
    has_ended = state == "ended"
    scores = _scores(anchors, measured, late, snapshot) if has_ended and anchors else _Scores()
    return RunResult(
        name=run.name,
        task=run.setting.task,
        regime=run.setting.regime,
        arm=run.arm,
        seed=run.seed,
        trial=run.trial,
        state=state,
        score=scores.score if has_ended else 0.0 if anchors else None,
        value=fmean(measured[index].value or 0.0 for index in snapshot) if has_ended else None,
        metric=plan_runs.get_task(plan, run.setting).reported.name,
        better=anchors.better if anchors else "",
        last=scores.last,
        best=scores.best,
        last_fifth=scores.last_fifth,
        spread=scores.spread,
        cpu=measured[-1].cpu if has_ended else None,
        seconds=measured[-1].seconds if has_ended else None,
        steps=steps,
        collapse=_collapse_share(lines),
        verdict=lines[-1].get("verdict") if lines else None,
        rollbacks=sum(line["event"] == "remedied" and line.get("restored") is not None for line in lines),
        lost=sum(line["lost"] for line in lines if line["event"] == "remedied"),
        curve=_curve(anchors, measured),
        also=dict(measured[-1].also) if has_ended else {},
        experiment=_file_digest(path / EXPERIMENT_FILE),
        weights=_file_digest(path / "generator.safetensors"),
        sampling=measured[-1].sampling if measured else None,
        weights_count=measured[-1].weights if measured else None,
        start_cpu=_start_cpu(plan, folder, run),
        model=model,
        trained_weights=next((sum(line["parameters"].values()) for line in lines if line["event"] == "started"), None),
    )


def _length_and_model(path: Path) -> tuple[int, str]:
    """Return the number of steps of a run, and the name of its model."""
    experiment = json.loads((path / EXPERIMENT_FILE).read_text())
    return int(experiment["steps"]), str(experiment["model"]["name"]).removeprefix("equipoise.models.")


def _start_cpu(plan: ComparisonPlan, folder: ComparisonFolder, run: RunSpec) -> float:
    """Return the CPU seconds of the runs that a run starts from, directly or not; 0 for random weights."""
    start = plan_runs.start_run(plan, plan_runs.trained_run(plan, run))
    if start is None:
        return 0.0
    recorded = measurements.read_measurements(folder.measurements(start))
    return (recorded[-1].cpu if recorded else 0.0) + _start_cpu(plan, folder, start)


@dataclass(frozen=True, slots=True)
class _Scores:
    """Scores of a run that ended."""

    score: float | None = None
    last: float | None = None
    best: float | None = None
    last_fifth: float | None = None
    spread: float | None = None


def _curve(anchors: Anchors | None, measured: Sequence[Measurement]) -> tuple[tuple[int, float, float], ...]:
    """Return (step, score, CPU seconds) of each measurement; nothing without anchors."""
    if anchors is None:
        return ()
    return tuple(
        (measurement.step, anchors.score(measurement.value or 0.0), measurement.cpu) for measurement in measured
    )


def _scores(anchors: Anchors, measured: Sequence[Measurement], late: Sequence[int], snapshot: Sequence[int]) -> _Scores:
    """Score the measurements of a run. `late`: indices in the last fifth; `snapshot`: indices that count."""
    scores = [anchors.score(measurement.value or 0.0) for measurement in measured]
    late_scores = [scores[index] for index in late]
    return _Scores(
        score=fmean(scores[index] for index in snapshot),
        last=scores[-1],
        best=max(scores),
        last_fifth=fmean(late_scores),
        spread=pstdev(late_scores) if len(late_scores) > 1 else None,
    )


def write_results(path: Path, results: Sequence[RunResult]) -> None:
    """Write one JSON line per run. The key of the curve is `looks`, as in the published results of benchmarks."""
    lines = []
    for result in results:
        values = {("looks" if key == "curve" else key): value for key, value in dataclasses.asdict(result).items()}
        lines.append(json.dumps(_to_json(values)) + "\n")
    write_text(path, "".join(lines))


def read_results(path: Path) -> list[RunResult]:
    """Read what `write_results` wrote, in its order."""
    return [_from_json(json.loads(line)) for line in path.read_text().splitlines()]


def _from_json(line: JsonContent) -> RunResult:
    values: JsonContent = {name: _restore(value) for name, value in line.items() if name != "looks"}
    values["also"] = {name: _restore(value) for name, value in line["also"].items()}
    values["curve"] = tuple((int(step), float(score), float(cpu)) for step, score, cpu in line["looks"])
    values["sampling"] = SamplingCost(**line["sampling"]) if line.get("sampling") else None
    return RunResult(**values)


def _restore(value: object) -> object:
    """Return the number that a text stands for, or the value as it is."""
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value


def _state(plan: ComparisonPlan, folder: ComparisonFolder, run: RunSpec) -> RunStatus:
    if execution.is_run_done(folder, plan, run):
        final = execution.final_event(Run(folder.run(plan_runs.trained_run(plan, run))))
        return "diverged" if final and final["reason"] == "diverged" else "ended"
    return "failed" if folder.failed(run.name).exists() else "unfinished"


def _snapshot_index(plan: ComparisonPlan, lines: Sequence[EventLine], measured: Sequence[Measurement]) -> int:
    """Return the index of the measurement that counts: the last, or the one with the best live metric."""
    live = {line["step"]: line for line in lines if line["event"] == "evaluated"}
    if plan.snapshot != "best" or not live:
        return -1
    values = [
        (float(live[measurement.step]["value"]), index)
        for index, measurement in enumerate(measured)
        if measurement.step in live
    ]
    sign = 1 if next(iter(live.values()))["better"] == "lower" else -1
    return min(((sign * value, index) for value, index in values if value == value), default=(0.0, -1))[1]


def _collapse_share(lines: Sequence[EventLine]) -> float | None:
    """Return the share of the readings of the second half with a serious finding of lost variety."""
    readings = [line for line in lines if line["event"] == "sensed" and line["progress"] >= SECOND_HALF]
    has_collapse = [
        any(
            finding["symptom"] in COLLAPSE_SYMPTOMS and finding["severity"] >= SERIOUS
            for finding in line["health"]["findings"]
        )
        for line in readings
    ]
    return fmean(has_collapse) if has_collapse else None


def _file_digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _to_json(values: object) -> object:
    """Convert values to JSON; numbers that are not finite become strings."""
    if isinstance(values, float) and not math.isfinite(values):
        return repr(values)
    if isinstance(values, Mapping):
        return {name: _to_json(value) for name, value in values.items()}
    return values
