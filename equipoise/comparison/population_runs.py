"""Execution of population-based training: one round of one member is a job, and so is the choice of the best member.

    FOLDER/population/RUN/round-R/member-M          the run folder of a member, a copy of its source plus one round
                                  member-M.json     its record, written last: the round is done
                                  member-M.jsonl    its measurements, with those of its sources
    FOLDER/population/RUN/schedule.json             the best member, its schedule, and the members that it descends from

Each round has folders of its own, which nothing changes later, so a round can be repeated after a kill at any time, by
any process. Checkpoints are deleted when no round can need them any more.
"""

import dataclasses
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from equipoise.comparison import plan_runs
from equipoise.comparison.folder import ComparisonFolder, open_comparison, read_json, write_json
from equipoise.comparison.measured_training import train_and_measure
from equipoise.comparison.measurements import Measurement, append_measurement, read_measurements
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_runs import MemberRound, RunSpec
from equipoise.comparison.population import (
    KnobSchedule,
    MemberRecord,
    first_values,
    next_round,
    rank_members,
    round_count,
    round_end,
    with_schedule,
)
from equipoise.core import catalog
from equipoise.core.events import FinishReason
from equipoise.experiment.files import load_run_experiment
from equipoise.experiment.settings import Experiment, PlugSpec, build_data, build_recipe, require
from equipoise.jobs.backend import BlockedError
from equipoise.pilot.state import controller_spec
from equipoise.runs.artifacts import PARTIAL, encode_json, write_text
from equipoise.runs.folders import BUSY, SUFFIX, hold
from equipoise.runs.run import CHECKPOINTS_FOLDER, EXPERIMENT_FILE, Run
from equipoise.training import checkpoint


def execute_round(folder: ComparisonFolder, spec: MemberRound, interrupted: Callable[[], bool]) -> bool:
    """Start or resume a round of a member; return whether it is complete.

    Raises BlockedError if a member of the round before has failed.
    """
    with hold(folder.lock(spec.name), BUSY, wait_until=interrupted):
        torch.set_num_threads(1)
        path = folder.member(spec)
        if record_path(folder, spec).exists():
            return True
        plan = open_comparison(folder).plan
        source, schedule = _origin(folder, plan, spec)
        if source is not None and source.live is None:  # all members have diverged
            record = dataclasses.replace(source, member=spec.member, source=source.member, cpu=0.0, seconds=0.0)
            _copy_measurements(folder, spec, source)
            if not path.exists():  # as it does after a kill before the record was written
                _copy_folder(folder.member(_at(spec, spec.number - 1, source.member)), path)
            write_json(record_path(folder, spec), dataclasses.asdict(record))
            return True
        plan = with_schedule(plan, spec.run.arm, schedule, _steps(plan, spec.run))
        experiment = plan_runs.build_experiment(plan, spec.run, {})
        if source is not None and not path.exists():
            _continue_from(folder, spec, source, experiment)
        before = _last_before(folder, spec, source)
        until = round_end(plan, plan.arms[spec.run.arm].population, spec.number, require(experiment.steps, "steps"))
        files = path, _measurements_path(folder, spec)
        reason = train_and_measure(plan, spec.run, experiment, *files, interrupted, until)
        last = read_measurements(_measurements_path(folder, spec))[-1:]
        if reason == "interrupted" and (not last or last[0].step < until):
            return False
        _finish_round(folder, spec, schedule, source, before, is_diverged=reason == "diverged", until=until)
        return True


def read_records(folder: ComparisonFolder, plan: ComparisonPlan, run: RunSpec, number: int) -> list[MemberRecord]:
    """Read the records of all members after a round. Raises BlockedError if one is missing."""
    result = []
    for spec in plan_runs.members_of_round(plan, run, number):
        values = read_json(record_path(folder, spec))
        if not values:
            raise BlockedError(f"{run.name} needs {spec.name}, which failed or has not ended; run that one first")
        schedule = {
            knob: [(int(step), float(value)) for step, value in one] for knob, one in values["schedule"].items()
        }
        result.append(MemberRecord(**{**values, "schedule": schedule}))
    return result


def select_winner(folder: ComparisonFolder, plan: ComparisonPlan, run: RunSpec) -> FinishReason:
    """Make the best member the run that is compared, charged with the time of all; return the reason for its end."""
    part = plan.arms[run.arm].population
    rounds = [read_records(folder, plan, run, number) for number in range(round_count(plan, part))]
    best = rank_members(rounds[-1], _better(plan, run))[0]
    spec = MemberRound(run, len(rounds) - 1, best)
    path, target = folder.member(spec), folder.run(run)
    folder.measurements(run).unlink(missing_ok=True)
    for measurement in read_measurements(_measurements_path(folder, spec)):
        append_measurement(folder.measurements(run), _charged(measurement, rounds))
    record = rounds[-1][best]
    values = {"member": best, "schedule": record.schedule, "members": lineage(rounds, best)}
    write_json(folder.population(run) / "schedule.json", values)
    shutil.rmtree(target, ignore_errors=True)
    _copy_folder(path, target)
    for checkpoints in folder.population(run).glob(f"round-*/member-*/{CHECKPOINTS_FOLDER}"):
        shutil.rmtree(checkpoints, ignore_errors=True)
    return "diverged" if record.live is None else "steps"


def with_best_schedule(folder: ComparisonFolder, plan: ComparisonPlan, run: RunSpec) -> ComparisonPlan:
    """Return the plan in which a run follows the schedule of the best member of its setting and seed."""
    winner = plan_runs.required_run(plan, run)
    assert winner is not None
    schedule = read_json(folder.population(winner) / "schedule.json")["schedule"]
    return with_schedule(plan, run.arm, schedule, _steps(plan, run))


def lineage(rounds: Sequence[Sequence[MemberRecord]], member: int) -> list[int]:
    """Return the lineage of a member: the member whose weights it had in each round, itself in the last."""
    result = [member]
    for records in reversed(rounds[1:]):
        source = records[result[0]].source
        result.insert(0, result[0] if source is None else source)
    return result


def record_path(folder: ComparisonFolder, spec: MemberRound) -> Path:
    """Return the path of the record of a member after a round."""
    return folder.member(spec).with_name(f"member-{spec.member}.json")


def _measurements_path(folder: ComparisonFolder, spec: MemberRound) -> Path:
    return folder.member(spec).with_name(f"member-{spec.member}.jsonl")


def _at(spec: MemberRound, number: int, member: int) -> MemberRound:
    return dataclasses.replace(spec, number=number, member=member)


def _origin(
    folder: ComparisonFolder, plan: ComparisonPlan, spec: MemberRound
) -> tuple[MemberRecord | None, KnobSchedule]:
    """Return the record of the member that a round continues from, None in the first round, and the schedule."""
    assert plan.population is not None
    setting = spec.run.setting
    if spec.number == 0:
        arm = plan_runs.arm_in_setting(plan, setting, spec.run.arm)
        task = plan_runs.task_of_arm(plan_runs.get_task(plan, setting), arm)
        base = plan_runs.base_experiment(plan, task, setting, spec.run.seed)
        model = build_recipe(base).build(build_data(base).spec, torch.Generator().manual_seed(0))
        knobs = plan_runs.initial_knobs(model.knobs, plan, setting, arm).values()
        values = first_values(plan.population, knobs, spec.member, spec.run.seed, setting.name)
        return None, {knob: [(0, value)] for knob, value in values.items()}
    records = read_records(folder, plan, spec.run, spec.number - 1)
    better, seed = _better(plan, spec.run), spec.run.seed
    origins = next_round(plan.population, records, better, seed, setting.name, spec.number - 1)
    source, schedule = origins[spec.member]
    return records[source], schedule


def _continue_from(folder: ComparisonFolder, spec: MemberRound, source: MemberRecord, experiment: Experiment) -> None:
    """Copy the folder and the measurements of the source of a round, and set the schedule of the copy."""
    _copy_measurements(folder, spec, source)

    def set_schedule(path: Path) -> None:
        saved = load_run_experiment(path)
        changed = dataclasses.replace(saved, controller=experiment.controller)
        write_text(path / EXPERIMENT_FILE, encode_json(changed.to_json(), EXPERIMENT_FILE))
        _set_controller(path / CHECKPOINTS_FOLDER, require(experiment.controller, "controller"))

    origin = folder.member(_at(spec, spec.number - 1, source.member))
    _copy_folder(origin, folder.member(spec), set_schedule)
    if spec.number > 1:  # all members have left the round before that one
        earlier = folder.member(_at(spec, spec.number - 2, spec.member))
        shutil.rmtree(earlier / CHECKPOINTS_FOLDER, ignore_errors=True)


def _copy_measurements(folder: ComparisonFolder, spec: MemberRound, source: MemberRecord) -> None:
    """Let a round of a member begin with the measurements of its source."""
    measured = _measurements_path(folder, spec)
    measured.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_measurements_path(folder, _at(spec, spec.number - 1, source.member)), measured)


def _set_controller(checkpoints: Path, controller: PlugSpec) -> None:
    """Replace the options of the controller in checkpoints, so that a copy of the run can be resumed with others."""
    spec = controller_spec(catalog.build("controllers", controller.name, controller.options))
    for path in checkpoint.find(checkpoints):
        saved = checkpoint.read(path)
        values = {name: value for name, value in saved.values.items() if name not in ("format", "sha256")}
        values["pilot"] = {**values["pilot"], "controller_spec": spec._asdict()}
        checkpoint.write(checkpoints, dataclasses.replace(saved, values=values))


def _copy_folder(source: Path, target: Path, change: Callable[[Path], None] = lambda path: None) -> None:
    """Copy a run folder without its locks, and change the copy, so that it appears completely or not at all."""
    draft = target.with_name(f".{target.name}{PARTIAL}")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(source, draft, ignore=shutil.ignore_patterns(f".*{SUFFIX}", f"*{PARTIAL}"))
    change(draft)
    draft.rename(target)


def _finish_round(
    folder: ComparisonFolder,
    spec: MemberRound,
    schedule: KnobSchedule,
    source: MemberRecord | None,
    before: tuple[float, float],
    *,
    is_diverged: bool,
    until: int,
) -> None:
    """Write the record of a round, after deleting the checkpoints that the next one does not need."""
    path = folder.member(spec)
    last = read_measurements(_measurements_path(folder, spec))[-1:]
    values = [float(line["value"]) for line in Run(path).lines("evaluated") if line["step"] == until]
    live = values[-1] if values and not is_diverged and math.isfinite(values[-1]) else None
    for saved in checkpoint.find(path / CHECKPOINTS_FOLDER)[:-1]:
        shutil.rmtree(saved, ignore_errors=True)
    cpu, seconds = (last[0].cpu - before[0], last[0].seconds - before[1]) if last else (0.0, 0.0)
    origin = None if source is None else source.member
    record = MemberRecord(spec.member, until, live, schedule, origin, cpu, seconds)
    write_json(record_path(folder, spec), dataclasses.asdict(record))


def _last_before(folder: ComparisonFolder, spec: MemberRound, source: MemberRecord | None) -> tuple[float, float]:
    """Return the CPU seconds and seconds of the weights that a round continues from."""
    if source is None:
        return 0.0, 0.0
    last = read_measurements(_measurements_path(folder, _at(spec, spec.number - 1, source.member)))[-1]
    return last.cpu, last.seconds


def _charged(measurement: Measurement, rounds: Sequence[Sequence[MemberRecord]]) -> Measurement:
    """Return a measurement with the time of all members up to its step, in proportion within a round."""
    cpu = seconds = 0.0
    begin = 0
    for records in rounds:
        end = max(record.step for record in records)
        share = min(max((measurement.step - begin) / (end - begin), 0.0), 1.0)
        cpu += share * sum(record.cpu for record in records)
        seconds += share * sum(record.seconds for record in records)
        begin = end
    return dataclasses.replace(measurement, cpu=cpu, seconds=seconds)


def _better(plan: ComparisonPlan, run: RunSpec) -> str:
    """Return which direction of the live metric is better."""
    live = plan_runs.get_task(plan, run.setting).metric
    better: str = catalog.build("metrics", live.name, live.options).better
    return better


def _steps(plan: ComparisonPlan, run: RunSpec) -> int:
    """Return the number of steps of a run."""
    task = plan_runs.task_of_arm(
        plan_runs.get_task(plan, run.setting), plan_runs.arm_in_setting(plan, run.setting, run.arm)
    )
    return require(plan_runs.base_experiment(plan, task, run.setting, run.seed).steps, "steps")
