"""Population-based training: what happens between rounds, a whole plan, and kills at any time."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise.comparison import execution, jobs, page, plan_runs, population, results
from equipoise.comparison.execution import RoundJob, execute_job
from equipoise.comparison.folder import ComparisonFolder, create_or_open, open_comparison
from equipoise.comparison.plan import ComparisonPlan, PopulationPlan, SearchRange
from equipoise.comparison.plan_files import plan_from_values
from equipoise.comparison.plan_runs import MemberRound, RunSpec, TaskSetting
from equipoise.comparison.population import MemberRecord, next_round, schedule_controller, with_population_arms
from equipoise.comparison.population_runs import record_path
from equipoise.core.schedules import parse as parse_schedule
from equipoise.errors import EquipoiseError

POPULATION = """
evaluations = 4
samples = 60
seeds = [0]
[arms.fixed]
[tasks.ring]
data = "ring"
model = { name = "mlp", width = 8 }
steps = 24
batch_size = 16
metric = "coverage:samples"
reported = "high_quality"
[population]
members = 3
rounds = 2
share = 0.34
[population.search]
lr_g = { low = 1e-4, high = 1e-2 }
"""
WINNER = RunSpec(TaskSetting("ring"), "population", 0)
SETTINGS = PopulationPlan(search={"lr_g": SearchRange(low=0.1, high=10.0)}, members=5, share=0.2)


def records(*live: float | None, step: int = 8) -> list[MemberRecord]:
    return [
        MemberRecord(number, step, value, {"lr_g": [(0, 1.0 + number)]}, None, 1.0, 1.0)
        for number, value in enumerate(live)
    ]


def test_the_worst_continue_from_the_best_with_other_knobs() -> None:
    after = next_round(SETTINGS, records(3.0, 1.0, 2.0, 9.0, 4.0), "lower", 0, "ring", 0)
    assert [source for source, _ in after] == [0, 1, 2, 1, 4]
    assert after[0][1] == {"lr_g": [(0, 1.0)]}
    assert after[3][1]["lr_g"][0] == (0, 2.0)
    step, value = after[3][1]["lr_g"][1]
    assert step == 8
    assert value in (2.0 * 0.8, 2.0 * 1.25)
    assert [source for source, _ in next_round(SETTINGS, records(3, 1, 2, 9, 4), "higher", 0, "ring", 0)][1] == 3


def test_what_happens_follows_from_the_seeds_alone() -> None:
    first = [next_round(SETTINGS, records(3, 1, 2, 9, 4), "lower", seed, "ring", 0)[3][1] for seed in range(12)]
    again = [next_round(SETTINGS, records(3, 1, 2, 9, 4), "lower", seed, "ring", 0)[3][1] for seed in range(12)]
    assert first == again
    assert len({one["lr_g"][-1] for one in first}) == 2, "both factors occur"


def test_members_that_diverged_are_replaced_and_knobs_stay_in_their_range() -> None:
    after = next_round(SETTINGS, records(None, None, None, None, 2.0), "lower", 0, "ring", 0)
    assert [source for source, _ in after] == [4] * 5
    none = next_round(SETTINGS, records(*[None] * 5), "lower", 0, "ring", 0)
    assert [source for source, _ in none] == [0, 1, 2, 3, 4]
    narrow = dataclasses.replace(SETTINGS, search={"lr_g": SearchRange(low=4.9, high=5.1)})
    after = next_round(narrow, records(None, None, None, None, 2.0), "lower", 0, "ring", 0)
    assert after[0][1]["lr_g"][-1][1] in (4.9, 5.1)


def test_schedule_changes_at_the_first_reading_after_a_step() -> None:
    text = schedule_controller({"lr_g": [(0, 0.1), (6, 0.2), (12, 0.3)]}, 24).options["schedules"]["lr_g"]
    schedule = parse_schedule(text)
    assert [schedule(step / 24) for step in (0, 6, 7, 12, 13, 24)] == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]


def test_first_member_has_the_knobs_of_the_arm_and_both_arms_the_same_first_values() -> None:
    values = [population.first_values(SETTINGS, {"lr_g": 7.0}, member, 0, "ring")["lr_g"] for member in range(5)]
    assert values[0] == 7.0
    assert len(set(values)) == 5
    assert all(0.1 <= value <= 10 for value in values)


def test_rounds_end_at_evaluations(parse: Callable[[str], ComparisonPlan]) -> None:
    plan = parse(POPULATION)
    assert [population.round_end(plan, "winner", number, 24) for number in range(2)] == [12, 24]
    assert population.round_end(plan, "constants", 0, 24) == 24
    odd = dataclasses.replace(plan, population=dataclasses.replace(plan.population, rounds=3))
    assert [population.round_end(odd, "winner", number, 27) for number in range(3)] == [6, 18, 27]


def execute(plan: ComparisonPlan, folder: ComparisonFolder, *, kill: bool = False) -> None:
    """Execute all jobs in an order that needs allow. `kill`: each one twice, interrupted the first time."""
    waiting = jobs.list_jobs(plan)
    while waiting:
        names = {job.name for job in waiting}
        job = next(job for job in waiting if jobs.is_ready(plan, job, names))
        if kill:
            count = iter(range(1000))
            execute_job(folder, job, lambda count=count: next(count) > 4)
        assert execute_job(folder, job, lambda: False)
        assert job.is_done(folder, plan)
        waiting.remove(job)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ComparisonFolder:
    """A finished comparison of a population. Read only."""
    import tomllib

    plan = plan_from_values(tomllib.loads(POPULATION), "plan")
    folder = ComparisonFolder(tmp_path_factory.mktemp("population") / "out")
    create_or_open(folder, plan, POPULATION)
    execute(plan, folder)
    return folder


def test_the_schedule_of_the_best_member_gives_its_weights_again(trained: ComparisonFolder) -> None:
    """Members have the seed of the run, and copies the random states of their sources."""
    alone = dataclasses.replace(WINNER, arm="population_schedule")
    weights = [(trained.run(run) / "generator.safetensors").read_bytes() for run in (WINNER, alone)]
    assert weights[0] == weights[1]


def test_a_population_is_charged_with_the_time_of_all_members(trained: ComparisonFolder) -> None:
    plan = open_comparison(trained).plan
    rows = {run.arm: run for run in results.load_results(plan, trained)}
    spent = [json.loads(path.read_text())["cpu"] for path in trained.population(WINNER).glob("round-*/*.json")]
    assert len(spent) == 6
    assert min(spent) > 0
    assert rows["population"].cpu == pytest.approx(sum(spent))
    assert [step for step, _, _ in rows["population"].curve] == [6, 12, 18, 24]
    assert rows["population"].cpu > 2 * rows["population_schedule"].cpu
    assert rows["best_constant"].state == rows["population"].state == "ended"


def test_report_names_rivals_and_schedules(trained: ComparisonFolder) -> None:
    text = (page.write_report(trained).with_name("results.md")).read_text()
    assert "| setting | population | best of 3 constants | mean of 3 constants |" in text
    assert "members that it descends from" in text
    assert not list(trained.path.glob("population/*/round-*/*/checkpoints")), "99 % of the size"


def test_an_interrupted_population_ends_with_the_same_weights(trained: ComparisonFolder, tmp_path: Path) -> None:
    plan = open_comparison(trained).plan
    folder = ComparisonFolder(tmp_path / "again")
    create_or_open(folder, plan, "")
    shutil.copytree(trained.path / "anchors", folder.path / "anchors")
    execute(plan, folder, kill=True)
    for run in plan_runs.compared_runs(plan):
        first, second = ((one.run(run) / "generator.safetensors").read_bytes() for one in (trained, folder))
        assert first == second, run.name


def test_round_waits_for_all_members_and_fails_without_one(trained: ComparisonFolder, tmp_path: Path) -> None:
    plan = open_comparison(trained).plan
    assert RoundJob(MemberRound(WINNER, 1, 0)).required(plan) == [
        f"{WINNER.name}.round0.member{member}" for member in range(3)
    ]
    assert plan_runs.required_jobs(plan, WINNER) == [f"{WINNER.name}.round1.member{member}" for member in range(3)]
    folder = ComparisonFolder(tmp_path / "copy")
    shutil.copytree(trained.path, folder.path)
    shutil.rmtree(folder.population(WINNER) / "round-1")
    (folder.population(WINNER) / "round-0" / "member-1.json").unlink()
    with pytest.raises(EquipoiseError, match=r"needs ring\.population\.seed0\.round0\.member1, which failed"):
        execution.execute_job(folder, RoundJob(MemberRound(WINNER, 1, 0)), lambda: False)


def test_a_round_after_all_have_diverged_can_be_repeated(trained: ComparisonFolder, tmp_path: Path) -> None:
    """Also if it was killed after its folder was copied."""
    folder = ComparisonFolder(tmp_path / "copy")
    shutil.copytree(trained.path, folder.path)
    shutil.rmtree(folder.population(WINNER) / "round-1")
    for path in folder.population(WINNER).glob("round-0/*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "live": None}))
    spec = MemberRound(WINNER, 1, 0)
    for _ in range(2):
        assert execution.execute_job(folder, RoundJob(spec), lambda: False)
        record = record_path(folder, spec)
        assert json.loads(record.read_text())["live"] is None
        record.unlink()
    assert record.with_suffix(".jsonl").read_text(), "the measurements of its source"


def test_a_member_that_diverges_is_charged(trained: ComparisonFolder, tmp_path: Path) -> None:
    plan = open_comparison(trained).plan
    ring = plan.tasks["ring"]
    far = dataclasses.replace(ring, data=dataclasses.replace(ring.data, options={"radius": 1e38}))
    folder = ComparisonFolder(tmp_path / "diverging")
    create_or_open(folder, dataclasses.replace(plan, tasks={"ring": far}, repair=False), "")
    spec = MemberRound(WINNER, 0, 0)
    assert execution.execute_job(folder, RoundJob(spec), lambda: False)
    record = json.loads(record_path(folder, spec).read_text())
    assert record["live"] is None
    assert record["cpu"] > 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('metric = "coverage:samples"', "", "ranks members by the live metric, and task 'ring' has none"),
        ("members = 3", "members = 1", "members = 1 of [population]"),
        ("rounds = 2", "rounds = 9", "it must be from 2 to 4, the evaluations"),
        ("share = 0.34", "share = 0.9", "share = 0.9"),
        ("[arms.fixed]", '[arms.fixed]\ncontroller = "rank"', "must have the controller 'fixed'"),
        ("[arms.fixed]", "[arms.fixed]\n[arms.population]", "adds an arm 'population'"),
        ("members = 3", 'members = 3\narm = "fixd"', "there is no arm 'fixd' in [population]; did you mean 'fixed'?"),
        ("lr_g = { low = 1e-4, high = 1e-2 }", "", "has no search"),
        ("steps = 24", "cpu_seconds = 3", "needs tasks with steps"),
    ],
)
def test_invalid_populations(parse: Callable[[str], ComparisonPlan], old: str, new: str, message: str) -> None:
    assert old in POPULATION
    with pytest.raises(EquipoiseError) as error:
        parse(POPULATION.replace(old, new))
    assert message in str(error.value)


def test_a_plan_without_a_population_has_no_such_arm(tiny: ComparisonPlan) -> None:
    assert with_population_arms(tiny) is tiny
    arms = {"fixed": dataclasses.replace(tiny.arms["fixed"], population="winner")}
    with pytest.raises(EquipoiseError, match="which \\[population\\] adds; remove it"):
        population.check_population(dataclasses.replace(tiny, arms=arms), "plan")
