"""What a run is charged for: all that its process does, but for looks from outside."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from equipoise.comparison import execution, measurements, plan_runs
from equipoise.comparison.folder import ComparisonFolder, create_or_open
from equipoise.comparison.measurements import ReportedMetric, RunClock
from equipoise.comparison.plan import ComparisonPlan

LONG = 1000.0


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed, on both clocks: whoever reads one of them takes a thousandth."""
    seconds = [0.0]

    def read() -> float:
        seconds[0] += 0.001
        return seconds[0]

    monkeypatch.setattr(looks, "time", SimpleNamespace(process_time=read, monotonic=read))
    return seconds


def test_a_clock_stands_still_while_it_is_stopped(passed: list[float]) -> None:
    clock = RunClock()
    passed[0] += 3
    with clock.paused() as reading:
        passed[0] += LONG
    assert reading == pytest.approx((3, 3), abs=0.01)
    passed[0] += 2
    assert clock.read() == pytest.approx((5, 5), abs=0.02)
    clock.set(70.0, 80.0)
    passed[0] += 1
    assert clock.read() == pytest.approx((71, 81), abs=0.02)


def test_looks_from_outside_are_not_charged(
    tiny: ComparisonPlan, tmp_path: Path, passed: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what the judge takes to begin nor what each of its looks takes; a step of the run is."""
    known, judge_of, train = measurements.build_reported_metric, ReportedMetric.of_run, execution.launch.start

    def beginning(*told: object) -> ReportedMetric:
        passed[0] += LONG
        return known(*told)

    def looking(judge: ReportedMetric, folder: Path) -> float:
        passed[0] += LONG
        return judge_of(judge, folder)

    def training(*told: object):
        for event in train(*told):
            passed[0] += 1
            yield event

    monkeypatch.setattr(looks, "judge_of", beginning)
    monkeypatch.setattr(ReportedMetric, "of_run", looking)
    monkeypatch.setattr(execution.launch, "start", training)
    folder, run = ComparisonFolder(tmp_path / "out"), plan_runs.test_runs(tiny)[0]
    create_or_open(folder, tiny, "")
    assert execution.execute_run(folder, run, lambda: False)
    seen = measurements.read_measurements(folder.measurements(run))
    assert len(seen) == 4
    assert passed[0] > 5 * LONG
    assert 12 <= seen[-1].cpu < LONG / 2
    assert 12 <= seen[-1].seconds < LONG / 2
    assert sorted(look.cpu for look in seen) == [look.cpu for look in seen]
