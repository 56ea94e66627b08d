"""Models as arms: settings that override those of a task, shared runs, starts, equal CPU seconds, and errors."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise.cli import main as cli
from equipoise.comparison import calibration, execution, jobs, measurements, page, plan_runs, results, run_checks
from equipoise.comparison.calibration import ArmCalibration
from equipoise.comparison.execution import CalibrationJob, RunJob
from equipoise.comparison.folder import ComparisonFolder, create_or_open, open_comparison
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_files import load_plan, plan_from_values, reduce_plan
from equipoise.comparison.plan_runs import RunSpec, TaskSetting
from equipoise.core.sampling import Sampling
from equipoise.errors import EquipoiseError, RunError, SettingError
from equipoise.inference.generator import load
from equipoise.runs.run import Run
from equipoise.training import checkpoint
from equipoise.training.timing import RunCosts

HEAD = "seeds = [0]\nsamples = 50\nevaluations = 3\n"
ARMS = """
[arms.small]
model = { name = "mlp", width = 8 }
batch_size = 8
[arms.short]
run = "small"
sampling = { truncation = 0.5 }
[arms.further]
model = { name = "mlp", width = 8 }
from = "small"
"""
TASK = """
[tasks.ring]
data = "ring"
model = { name = "mlp", width = 4 }
steps = 12
batch_size = 16
reported = "mixture_modes"
also = ["modes"]
"""
CLAIMS = """
[[claims]]
aspect = "Variety"
text = "Truncated latents give fewer modes."
measure = "modes"
better = ["small"]
worse = ["short"]
"""
SETTING = TaskSetting("ring")
Parse = Callable[[str], ComparisonPlan]


def run(arm: str) -> RunSpec:
    return RunSpec(SETTING, arm, 0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ComparisonFolder:
    """A finished comparison of three arms, two of which need the run of the first."""
    path = tmp_path_factory.mktemp("models") / "plan.toml"
    path.write_text(HEAD + ARMS + TASK + CLAIMS)
    folder, plan = ComparisonFolder(path.parent / "out"), load_plan(path)
    create_or_open(folder, plan, path.read_text())
    execution.execute_anchors(folder, SETTING)
    with pytest.raises(
        RunError, match=r"ring\.short\.seed0 needs the run ring\.small\.seed0, which failed or has not ended"
    ):
        execution.execute_run(folder, run("short"), lambda: False)
    for arm in plan.arms:
        assert execution.execute_run(folder, run(arm), lambda: False)
    return folder


def result(folder: ComparisonFolder, arm: str) -> results.RunResult:
    return results.load_result(open_comparison(folder).plan, folder, run(arm))


def test_arms_override_the_settings_of_a_task(parse: Parse) -> None:
    own = "[arms.small.tasks.ring]\noptions = { latent_dim = 3 }\nsteps = 5\nknobs = { lr_g = 0.004 }\n"
    plan = parse(HEAD + ARMS + own + TASK)
    experiment = plan_runs.build_experiment(plan, run("small"), {})
    assert (experiment.model.options["width"], experiment.model.options["latent_dim"]) == (8, 3)
    assert (experiment.steps, experiment.batch_size, experiment.knobs) == (5, 8, {"lr_g": 0.004})
    assert plan_runs.base_experiment(plan, plan.tasks["ring"], SETTING, 0).model.options["width"] == 4
    assert plan.compares_models
    assert not parse(HEAD + "[arms.fixed]\n" + TASK).compares_models


def test_knobs_of_a_task_are_not_those_of_another_model(parse: Parse) -> None:
    plan = parse(HEAD + ARMS + "[arms.same]\n" + TASK + "knobs = { lr_g = 0.003 }\n")
    assert plan_runs.build_experiment(plan, run("same"), {}).knobs == {"lr_g": 0.003}
    assert plan_runs.build_experiment(plan, run("small"), {}).knobs == {}


def test_plans_survive_json_and_older_ones_keep_their_digests(parse: Parse) -> None:
    plan = parse(HEAD + ARMS + TASK + CLAIMS)
    assert plan_from_values(json.loads(json.dumps(plan.to_json())), "plan.json") == plan
    older = parse(HEAD + "[arms.fixed]\n" + TASK).to_json()
    assert older.keys().isdisjoint({"claims", "targets", "equal_parameters"})
    assert older["arms"]["fixed"].keys() == {"controller", "knobs", "factors", "repair", "search", "tuned_on"}
    assert "cpu_seconds" not in older["tasks"]["ring"]


def test_a_shared_run_is_trained_once_and_sampled_as_its_arm_says(models: ComparisonFolder) -> None:
    assert {path.name for path in (models.path / "runs").iterdir()} == {"ring.small.seed0", "ring.further.seed0"}
    own, shared = result(models, "small"), result(models, "short")
    assert (shared.steps, shared.cpu, shared.weights, shared.model) == (own.steps, own.cpu, own.weights, "mlp")
    assert shared.also["modes"] <= own.also["modes"]
    assert own.score_drop is not None
    assert shared.score_drop is None, "of an arm that is evaluated once"
    recorded = measurements.read_measurements(models.measurements(run("short")))
    assert [one.step for one in recorded] == [12]
    plan = open_comparison(models).plan
    metric = measurements.build_reported_metric(
        plan.tasks["ring"], plan_runs.build_experiment(plan, run("small"), {}), 50
    )
    expected = metric.of_run(models.run(run("small")), Sampling(truncation=0.5))
    assert recorded[0].value == expected.value
    generator = load(models.run(run("small"))).networks["generator"]
    assert recorded[0].weights == sum(weight.numel() for weight in generator.parameters())


def test_a_run_starts_from_another_and_is_charged_with_it(models: ComparisonFolder) -> None:
    small, further = result(models, "small"), result(models, "further")
    assert further.start_cpu == small.cpu > 0 == small.start_cpu
    started = Run(models.run(run("further"))).lines("started")[0]
    assert started["transferred"] == {"generator": 1.0, "discriminator": 1.0}
    assert len(checkpoint.find(models.run(run("small")) / "checkpoints")) == 1, "kept for the runs that start from it"
    assert not (models.run(run("further")) / "checkpoints").exists()


def test_resumed_start_gives_the_same_weights(models: ComparisonFolder, tmp_path: Path) -> None:
    folder = ComparisonFolder(Path(shutil.copytree(models.path, tmp_path / "again")))
    first = (folder.run(run("further")) / "generator.safetensors").read_bytes()
    shutil.rmtree(folder.run(run("further")))
    folder.measurements(run("further")).unlink()
    count = iter(range(100))
    assert not execution.execute_run(folder, run("further"), lambda: next(count) >= 6)
    assert execution.execute_run(folder, run("further"), lambda: False)
    assert (folder.run(run("further")) / "generator.safetensors").read_bytes() == first


def test_page_has_arms_costs_claims_and_samples_of_every_arm(models: ComparisonFolder) -> None:
    text = page.write_report(models).read_text()
    for part in ("comparison of models", "Cost, quality and stability of each arm", "Truncated latents give fewer"):
        assert part in text
    for arm in ("small", "short", "further"):
        assert models.samples(run(arm), ".npy").exists()
    markdown = (models.path / "results.md").read_text()
    assert "| ring | short | mlp | truncation = 0.5 | sampled from small |" in markdown
    assert "with its start)" in markdown or "in 0 of 1 runs" in markdown
    assert "## Claims" in markdown
    assert "| ring | small |" in markdown.partition("## Variety")[2]


COSTS = RunCosts(0, 0.0, 0.1, early_reading=0.0, reading=0.0, sampling=0.0, evaluation=0.0, saving=0.0)


def test_equal_cpu_seconds_are_calibrated_in_turn(
    parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = parse(HEAD + ARMS + TASK.replace("steps = 12", "cpu_seconds = 10"))
    widths = []

    def measure(training, seconds: float, clock: object) -> RunCosts:
        widths.append(training.plan.batch_size)
        slow = 10.0 if len(widths) in (3, 4) else 1.0  # one slow round of both arms
        return dataclasses.replace(COSTS, step=slow * (0.1 if widths[-1] == 8 else 0.2))

    monkeypatch.setattr(calibration, "measure_costs", measure)
    folder = ComparisonFolder(tmp_path / "out")
    create_or_open(folder, plan, "")
    assert execution.execute_job(folder, CalibrationJob("ring"), lambda: False)
    assert widths == [8, 16] * calibration.ROUNDS, "arms alternate, and the one that shares a run is not measured"
    arms = calibration.read_calibration(folder, "ring")
    assert {name: arm.steps for name, arm in arms.items()} == {"small": 99, "further": 48}, "multiples of 3"
    assert arms["small"].rounds[1] == pytest.approx(1.0)
    calibrated = calibration.with_calibrated_steps(plan, folder)
    assert plan_runs.build_experiment(calibrated, run("small"), {}).steps == 99
    assert plan_runs.build_experiment(calibrated, run("small"), {}).save_every == 33
    assert CalibrationJob("ring") in jobs.list_jobs(plan)
    assert CalibrationJob("ring").is_done(folder, plan)


def test_calibration_measures_real_trainings(parse: Parse) -> None:
    plan = parse(HEAD + ARMS + TASK.replace("steps = 12", "cpu_seconds = 0.5"))
    arms = calibration.calibrate(plan, "ring")
    assert arms
    assert calibration.calibrate(plan, "ring", lambda: True) is None
    assert arms.keys() == {"small", "further"}
    assert all(
        isinstance(arm, ArmCalibration) and arm.steps >= 3 and len(arm.rounds) == calibration.ROUNDS
        for arm in arms.values()
    )


def test_no_run_is_trained_without_its_calibration(parse: Parse, tmp_path: Path) -> None:
    folder = ComparisonFolder(tmp_path / "out")
    create_or_open(folder, parse(HEAD + ARMS + TASK.replace("steps = 12", "cpu_seconds = 1")), "")
    with pytest.raises(RunError, match="no calibration of task 'ring' yet"):
        execution.execute_run(folder, run("small"), lambda: False)


def test_jobs_wait_for_the_run_that_they_need(models: ComparisonFolder) -> None:
    plan = open_comparison(models).plan
    first, shared, further = (RunJob(run(arm)) for arm in plan.arms)
    assert jobs.is_ready(plan, first, {shared.name, further.name})
    assert not jobs.is_ready(plan, shared, {first.name})
    assert not jobs.is_ready(plan, further, {first.name})
    assert jobs.is_ready(plan, further, {shared.name})


def test_reduced_plans_have_other_budgets(parse: Parse) -> None:
    plan = parse(HEAD + ARMS + TASK.replace("steps = 12", "cpu_seconds = 100"))
    assert reduce_plan(plan, None, None, 2.0).tasks["ring"].cpu_seconds == 2.0
    fewer = reduce_plan(plan, 5, None).tasks["ring"]
    assert (fewer.steps, fewer.cpu_seconds) == (5, None)
    with pytest.raises(SettingError, match="task 'ring' has no cpu_seconds"):
        reduce_plan(parse(HEAD + ARMS + TASK), None, None, 2.0)
    with pytest.raises(SettingError, match="use one of --steps and --cpu-seconds"):
        reduce_plan(plan, 5, None, 2.0)
    with pytest.raises(SettingError, match="cpu_seconds = 0: it must be above 0"):
        reduce_plan(plan, None, None, 0.0)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ('data = "grid"', "arm 'x' sets 'data', but all arms of a task have its data; add a task instead"),
        ("image_size = 8", "arm 'x' sets 'image_size', but all arms of a task have its data"),
        ('run = "nobody"', "there is no arm 'nobody'"),
        ('run = "short"', "samples from the run of 'short', which has none of its own; write run = \"small\""),
        ('run = "small"\nsteps = 4', "trains nothing, so its steps has no effect; remove it, or run"),
        ('from = "short"', "arm 'x' starts from 'short', which has no run of its own"),
        ('from = "x"', "arm 'x' starts from itself"),
        ("tasks.grid.steps = 4", "there is no task 'grid'"),
        ("sampling = { steps = 0 }", "steps = 0: it must be at least 1"),
        ("sampling = { fun = 1 }", "there is no setting 'fun' of the sampling of arm 'x'"),
    ],
)
def test_invalid_arms_of_a_plan(parse: Parse, arm: str, message: str) -> None:
    with pytest.raises(EquipoiseError) as error:
        parse(f"{HEAD}{ARMS}[arms.x]\n{arm}\n{TASK}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('reported = "mixture_modes"', 'reported = "kd_digits"', "'kd_digits' does not suit the data of task 'ring'"),
        ('also = ["modes"]', 'also = ["ppl"]', "the metric 'ppl' does not suit this data"),
        ("steps = 12", "cpu_seconds = 1\nsteps = 12", "task 'ring' has steps and cpu_seconds"),
        ("steps = 12", "cpu_seconds = 0", "cpu_seconds = 0 of task 'ring': it must be above 0"),
        ("truncation = 0.5", "steps = 4", "arm 'short' on 'ring': steps has no effect in mlp"),
        (
            "[arms.short]",
            '[arms.student]\nmodel = "distill"\n[arms.short]',
            'add from = "ARM" with an arm of edm or ddpm',
        ),
        ("seeds = [0]", "seeds = [0]\nequal_parameters = 0.1", "arm 'small' generates with"),
        ('measure = "modes"', 'measure = "fid"', "there is no measure 'fid' of task 'ring', in claim 1"),
        ('worse = ["short"]', "", "claim 1 in"),
        ('worse = ["short"]', 'worse = ["none"]', "there is no arm 'none'"),
    ],
)
def test_invalid_plans_of_models(parse: Parse, before: str, after: str, message: str) -> None:
    text = HEAD + ARMS + "[arms.tiny]\n" + TASK + CLAIMS
    assert before in text
    with pytest.raises(EquipoiseError) as error:
        run_checks.check_plan(parse(text.replace(before, after, 1)))
    assert message in str(error.value), error.value
    assert "\n" not in str(error.value)


IMAGES = """
seeds = [0]
[arms.small]
model = { name = "dcgan", width = 2 }
[arms.styles]
model = "stylegan2"
[tasks.digits]
data = { name = "digits", image_size = 16 }
steps = 2
batch_size = 4
reported = "fd_pixels"
also = ["ppl:w_full"]
"""


def test_metrics_of_captions_need_arms_that_take_captions_and_are_not_reported(
    working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = IMAGES.replace('name = "digits", image_size = 16', 'name = "openmoji", image_size = 16, captions = true')
    Path("also.toml").write_text(plan.replace("ppl:w_full", "retrieval_r10"))
    assert cli.run(["compare", "also.toml", "--out", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "retrieval_r10 is not a metric of every arm: it needs a model with captions, and dcgan has none" in line
    Path("reported.toml").write_text(plan.replace("fd_pixels", "retrieval_r1"))
    assert cli.run(["compare", "reported.toml", "--out", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the metric 'retrieval_r1' compares samples with their captions" in line
    assert line.endswith("move it from 'reported' to 'also'")


def test_an_arm_without_a_metric_of_the_task_is_one_line_and_exit_code_2(
    working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("plan.toml").write_text(IMAGES)
    assert cli.run(["compare", "plan.toml", "--out", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "arm 'small' on 'digits': ppl:w_full is not a metric of every arm: it needs a model with a mapping" in line
    Path("plan.toml").write_text(IMAGES.replace("[tasks.digits]", 'data = "openmoji"\n[tasks.digits]'))
    assert cli.run(["compare", "plan.toml", "--out", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "arm 'styles' sets 'data', but all arms of a task have its data" in line
    assert not Path("out").exists()
