"""A run of a comparison: its measurements, its cost, and resuming after an interruption."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from equipoise.comparison import execution, measurements, plan_runs, results
from equipoise.comparison.folder import ComparisonFolder, create_or_open, open_comparison
from equipoise.comparison.measurements import Measurement, append_measurement, read_measurements
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_runs import RunSpec, TaskSetting
from equipoise.comparison.summary import summarise
from equipoise.core.events import Stepped
from equipoise.core.sampling_cost import SamplingCost
from equipoise.errors import RunError
from equipoise.evaluation.evaluate import evaluate
from equipoise.evaluation.subject import EvaluationRequest
from equipoise.experiment import launch
from equipoise.runs.folders import hold
from equipoise.runs.run import Run

RUN = RunSpec(TaskSetting("ring"), "annealed", 1)


def measured_steps(folder: ComparisonFolder, run: RunSpec) -> list[int]:
    return [one.step for one in read_measurements(folder.measurements(run))]


def test_run_is_measured_as_often_as_in_the_plan_and_keeps_only_its_weights(compared: ComparisonFolder) -> None:
    assert measured_steps(compared, RUN) == [3, 6, 9, 12]
    names = {path.name for path in compared.run(RUN).iterdir()}
    assert "generator.safetensors" in names
    assert "checkpoints" not in names
    last = read_measurements(compared.measurements(RUN))[-1]
    assert last.also.keys() == {"modes"}
    clocks = [one.cpu for one in read_measurements(compared.measurements(RUN))]
    assert 0 < clocks[0] < clocks[1] < clocks[2] < clocks[3]


def test_measurement_equals_that_of_evaluate(compared: ComparisonFolder, tiny: ComparisonPlan) -> None:
    request = EvaluationRequest(
        samples=compared.run(RUN), metrics=("high_quality", "modes"), count=tiny.samples, seed=measurements.SEED
    )
    expected = {row.metric: row.value for row in evaluate(request).rows}
    last = read_measurements(compared.measurements(RUN))[-1]
    assert last.value == expected["high_quality"]
    assert last.also["modes"] == expected["modes"]


def test_measuring_does_not_change_the_run(compared: ComparisonFolder, tiny: ComparisonPlan, tmp_path: Path) -> None:
    """The weights of the same experiment without measurements are equal, byte for byte."""
    for _ in launch.start(plan_runs.build_experiment(tiny, RUN, {}), tmp_path / "alone"):
        pass
    plain, measured = (path / "generator.safetensors" for path in (tmp_path / "alone", compared.run(RUN)))
    assert plain.read_bytes() == measured.read_bytes()


@pytest.mark.parametrize("after", [4, 6, 11])
def test_interrupted_run_resumes_to_the_same_weights(
    compared: ComparisonFolder, tiny: ComparisonPlan, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ComparisonFolder(tmp_path / "again")
    create_or_open(folder, tiny, "")
    shutil.copytree(compared.path / "anchors", folder.path / "anchors")
    count = iter(range(100))
    assert not execution.execute_run(folder, RUN, lambda: next(count) >= after)
    assert not execution.is_run_done(folder, tiny, RUN)
    assert results.load_result(tiny, folder, RUN).state == "unfinished"
    assert execution.execute_run(folder, RUN, lambda: False)
    uninterrupted, again = (one.run(RUN) / "generator.safetensors" for one in (compared, folder))
    assert uninterrupted.read_bytes() == again.read_bytes()
    resumed, reference = (results.load_result(tiny, one, RUN) for one in (folder, compared))
    assert [score for _, score, _ in resumed.curve] == [score for _, score, _ in reference.curve]
    assert (resumed.score, resumed.value, resumed.also) == (reference.score, reference.value, reference.also)


def test_killed_run_resumes_from_its_last_measurement(
    tiny: ComparisonPlan, tmp_path: Path, compared: ComparisonFolder
) -> None:
    """Killed between the checkpoint of step 9 and its measurement: the cost is unknown, so the step is repeated."""
    folder = ComparisonFolder(tmp_path / "killed")
    create_or_open(folder, tiny, "")
    experiment = plan_runs.build_experiment(tiny, RUN, {})
    events = launch.start(experiment, folder.run(RUN))
    for event in events:
        if isinstance(event, Stepped) and event.step == 10:
            break
    events.close()
    for step in (3, 6):
        append_measurement(folder.measurements(RUN), Measurement(step, 0.5, cpu=100.0 + step, seconds=200.0))
    assert execution.execute_run(folder, RUN, lambda: False)
    recorded = read_measurements(folder.measurements(RUN))
    assert [one.step for one in recorded] == [3, 6, 9, 12]
    assert 106 < recorded[2].cpu < 150, "added to the cost up to step 6"
    lines = [json.loads(line) for line in (folder.run(RUN) / "events.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "resumed"] == [6]
    ends = [one.run(RUN) / "generator.safetensors" for one in (folder, compared)]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_run_without_a_checkpoint_restarts(tiny: ComparisonPlan, tmp_path: Path) -> None:
    folder = ComparisonFolder(tmp_path / "early")
    create_or_open(folder, tiny, "")
    folder.run(RUN).mkdir(parents=True)
    (folder.run(RUN) / ".experiment.json.partial").write_text("{")
    assert execution.execute_run(folder, RUN, lambda: False)
    assert measured_steps(folder, RUN) == [3, 6, 9, 12]


def test_finished_run_is_not_repeated(compared: ComparisonFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the run has finished")

    monkeypatch.setattr(launch, "start", never)
    assert execution.execute_run(compared, RUN, lambda: False)


def test_diverged_run_scores_0_and_is_not_repeated(
    tiny: ComparisonPlan, tmp_path: Path, compared: ComparisonFolder
) -> None:
    task = dataclasses.replace(
        tiny.tasks["ring"], data=dataclasses.replace(tiny.tasks["ring"].data, options={"radius": 1e38})
    )
    plan = dataclasses.replace(tiny, tasks={"ring": task}, repair=False)
    folder = ComparisonFolder(tmp_path / "diverging")
    create_or_open(folder, plan, "")
    shutil.copytree(compared.path / "anchors", folder.path / "anchors")
    assert execution.execute_run(folder, RUN, lambda: False)
    result = results.load_result(plan, folder, RUN)
    assert (result.state, result.score, result.value) == ("diverged", 0.0, None)
    assert result.counts
    assert execution.is_run_done(folder, plan, RUN)


def test_measurements_survive_a_kill_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "measurements.jsonl"
    append_measurement(path, Measurement(1, 0.25, 1.0, 2.0))
    cost = SamplingCost(100, 0.5, 0.75, 16, "cpu", 1)
    append_measurement(path, Measurement(2, float("nan"), 2.0, 3.0, {"modes": float("inf")}, cost))
    content = path.read_bytes()
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        assert [one.step for one in read_measurements(path)] in ([], [1])
        append_measurement(path, Measurement(3, None, 3.0, 4.0))
        assert read_measurements(path)[-1] == Measurement(3, None, 3.0, 4.0)
    path.write_bytes(content)
    append_measurement(path, Measurement(1, 0.5, 1.5, 2.5))
    first, second = read_measurements(path)
    assert first == Measurement(1, 0.5, 1.5, 2.5), "the later of two"
    assert second.value != second.value
    assert (second.also, second.sampling) == ({"modes": float("inf")}, cost)


def test_folder_belongs_to_one_plan(tiny: ComparisonPlan, tmp_path: Path, compared: ComparisonFolder) -> None:
    create_or_open(compared, tiny, "the same plan")
    assert open_comparison(compared).plan == tiny
    with pytest.raises(RunError, match=r"another plan; .* --out"):
        create_or_open(compared, dataclasses.replace(tiny, seeds=(0,)), "")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep")
    with pytest.raises(RunError, match="it is not empty; choose another folder with --out"):
        create_or_open(ComparisonFolder(tmp_path / "mine"), tiny, "")
    with pytest.raises(RunError, match=r"is not a comparison: it has no plan\.json"):
        open_comparison(ComparisonFolder(tmp_path / "mine"))


@pytest.mark.parametrize("names", [(), (".plan.json.partial",), ("plan.json",), ("plan.json", ".plan.toml.partial")])
def test_folder_can_be_used_after_a_kill_during_its_creation(
    tiny: ComparisonPlan, tmp_path: Path, names: tuple[str, ...]
) -> None:
    complete, folder = ComparisonFolder(tmp_path / "whole"), ComparisonFolder(tmp_path / "out")
    create_or_open(complete, tiny, "seeds = [0, 1]\n")
    folder.path.mkdir()
    for name in names:
        (folder.path / name).write_text("" if name.startswith(".") else (complete.path / name).read_text())
    assert create_or_open(folder, tiny, "seeds = [0, 1]\n") == tiny
    for name in ("plan.json", "plan.toml"):
        assert (folder.path / name).read_text() == (complete.path / name).read_text()


def test_measurements_of_an_older_folder_are_used(tmp_path: Path) -> None:
    folder = ComparisonFolder(tmp_path)
    assert folder.measurements(RUN).parent.name == "measurements"
    (tmp_path / "looks").mkdir()
    assert folder.measurements(RUN).parent.name == "looks"


def test_lock_excludes_other_processes(tmp_path: Path) -> None:
    with (
        hold(tmp_path / "locks" / "a", "wait"),
        pytest.raises(RunError, match="in use by another process; wait until"),
        hold(tmp_path / "locks" / "a", "wait until it has ended"),
    ):
        raise AssertionError("both hold it")
    with hold(tmp_path / "locks" / "a", "wait"):
        pass


def test_final_event_of_a_run(compared: ComparisonFolder) -> None:
    line = execution.final_event(Run(compared.run(RUN)))
    assert line is not None
    assert line["reason"] == "steps"
    assert execution.final_event(Run(compared.path / "runs" / "none")) is None


def test_a_process_that_had_lost_a_run_does_not_make_it_unfinished(compared: ComparisonFolder, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(compared.run(RUN), tmp_path / "run")))
    before = execution.final_event(run)
    log = run.folder / "events.jsonl"
    with log.open("a") as file:
        file.write(next(line for line in log.read_text().splitlines(keepends=True) if '"sensed"' in line))
    assert execution.final_event(run) == before
    with log.open("a") as file:
        file.write('{"event": "resumed", "step": 5, "images": 80}\n')
    assert execution.final_event(run) is None


def test_run_without_anchors_has_no_score(compared: ComparisonFolder, tiny: ComparisonPlan, tmp_path: Path) -> None:
    folder = ComparisonFolder(Path(shutil.copytree(compared.path, tmp_path / "bare")))
    shutil.rmtree(folder.path / "anchors")
    result = results.load_result(tiny, folder, RUN)
    assert (result.state, result.score, result.last, result.curve) == ("ended", None, None, ())
    assert result.value is not None
    assert not result.counts
    assert summarise(tiny, results.load_results(tiny, folder)) is None, "nothing is compared"
