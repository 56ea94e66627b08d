"""Cost of a run: everything that its process does, except for measurements."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from equipoise.comparison import execution, measurements, plan_runs
from equipoise.comparison.folder import ComparisonFolder, create_or_open
from equipoise.comparison.measurements import CostClock, ReportedMetric, read_measurements
from equipoise.comparison.plan import ComparisonPlan
from equipoise.core.sampling import Sampling
from equipoise.errors import RunError
from equipoise.experiment import launch

LONG = 1000.0


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of both clocks, in a list; each reading takes a millisecond."""
    values = [0.0]

    def advance() -> float:
        values[0] += 0.001
        return values[0]

    monkeypatch.setattr(measurements, "time", SimpleNamespace(process_time=advance, monotonic=advance))
    return values


def test_paused_clock_does_not_advance(seconds: list[float]) -> None:
    clock = CostClock()
    seconds[0] += 3
    with clock.paused() as reading:
        seconds[0] += LONG
    assert reading == pytest.approx((3, 3), abs=0.01)
    seconds[0] += 2
    assert clock.read() == pytest.approx((5, 5), abs=0.02)
    clock.set(70.0, 80.0)
    seconds[0] += 1
    assert clock.read() == pytest.approx((71, 81), abs=0.02)


def test_measurements_are_not_charged(
    tiny: ComparisonPlan, tmp_path: Path, seconds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither building the metric nor computing it is charged; steps of the run are."""
    build_metric, of_run, start = measurements.build_reported_metric, ReportedMetric.of_run, launch.start

    def build(*args: object) -> ReportedMetric:
        seconds[0] += LONG
        return build_metric(*args)

    def measure(metric: ReportedMetric, folder: Path, sampling: Sampling) -> measurements.MeasuredSamples:
        seconds[0] += LONG
        return of_run(metric, folder, sampling)

    def training(*args: object):
        for event in start(*args):
            seconds[0] += 1
            yield event

    monkeypatch.setattr(measurements, "build_reported_metric", build)
    monkeypatch.setattr(ReportedMetric, "of_run", measure)
    monkeypatch.setattr(launch, "start", training)
    folder, run = ComparisonFolder(tmp_path / "out"), plan_runs.compared_runs(tiny)[0]
    create_or_open(folder, tiny, "")
    assert execution.execute_run(folder, run, lambda: False)
    recorded = measurements.read_measurements(folder.measurements(run))
    assert len(recorded) == 4
    assert seconds[0] > 5 * LONG
    assert 12 <= recorded[-1].cpu < LONG / 2
    assert 12 <= recorded[-1].seconds < LONG / 2
    assert sorted(one.cpu for one in recorded) == [one.cpu for one in recorded]
    costs = [one.sampling for one in recorded]
    assert all(cost is not None and cost.count == tiny.samples and cost.cpu_seconds > 0 for cost in costs)


@pytest.mark.parametrize("line", ["{", "[]", "{}", "null", "[" * 9999])
def test_damaged_line_is_reported(tmp_path: Path, line: str) -> None:
    (tmp_path / "measurements.jsonl").write_text(f"{line}\n")
    with pytest.raises(RunError, match=r"measurements\.jsonl, line 1, is not a measurement; delete that line"):
        read_measurements(tmp_path / "measurements.jsonl")
