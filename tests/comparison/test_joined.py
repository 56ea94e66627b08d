"""Several processes on one folder: each job once, nothing lost, and clear errors where they cannot work together."""

import dataclasses
import errno
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from equipoise.cli import main as cli
from equipoise.comparison import job_calls, jobs, machines
from equipoise.comparison.execution import AnchorsJob, Job, RunJob
from equipoise.comparison.folder import ComparisonFolder, create_or_open, write_json
from equipoise.comparison.job_calls import execute_when_free, record_end
from equipoise.comparison.joined import join_jobs, write_once
from equipoise.comparison.machines import check_machine, describe_machines, record_machine, this_machine
from equipoise.comparison.plan import Arm, ComparisonPlan
from equipoise.errors import MemoryLimitError, RunError
from equipoise.jobs import claims as claims_module
from equipoise.jobs.backend import AnnouncedBackend, BlockedError, Call, RunningCall, execute_call
from equipoise.jobs.claim_files import DriveFiles
from equipoise.jobs.claims import ClaimFolder, JobClaim
from equipoise.jobs.identity import this_process

EXECUTED: list[str] = []
"""Names of the jobs that were executed, in order."""


@dataclasses.dataclass(eq=False)
class EndedCallInThisProcess:
    """A call that was executed when it was started; it is reported at the second look."""

    exit_code_value: int
    looks: int = 0

    @property
    def exit_code(self) -> int | None:
        self.looks += 1
        return self.exit_code_value if self.looks > 1 else None

    def terminate(self) -> None:
        pass

    kill = terminate

    def join(self) -> float:
        return 0.5


@dataclasses.dataclass
class InThisProcess:
    """Calls in this process. `codes`: name of a job -> the code that its process ends with instead of working."""

    slots: int = 1
    codes: dict[str, int] = dataclasses.field(default_factory=dict)
    is_remote: bool = False

    def start(self, call: Call) -> EndedCallInThisProcess:
        call.output.parent.mkdir(parents=True, exist_ok=True)
        call.output.write_text(f"output of {call.name}\n")
        if call.name in self.codes:
            return EndedCallInThisProcess(self.codes[call.name])
        return EndedCallInThisProcess(execute_call(call, lambda: False))

    def wait(self, running: Iterable[RunningCall]) -> None:
        pass


@pytest.fixture(autouse=True)
def cheap_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs write a file instead of training."""
    EXECUTED.clear()

    def execute(folder: ComparisonFolder, job: Job, interrupted: Callable[[], bool]) -> bool:
        EXECUTED.append(job.name)
        interrupted()
        write_json(result_of(folder, job), {})
        return True

    def result_of(folder: ComparisonFolder, job: Job) -> Path:
        return folder.anchors(job.setting) if isinstance(job, AnchorsJob) else folder.path / "ended" / job.name

    def is_done(job: Job, folder: ComparisonFolder, plan: ComparisonPlan) -> bool:
        return result_of(folder, job).exists()

    for kind in (AnchorsJob, RunJob):
        monkeypatch.setattr(kind, "is_done", is_done)
    monkeypatch.setattr("equipoise.comparison.job_calls.execute_job", execute)
    monkeypatch.setattr("equipoise.jobs.claimed_queue.RESCAN_SECONDS", 0.0)


@pytest.fixture
def folder(tiny: ComparisonPlan, tmp_path: Path) -> ComparisonFolder:
    result = ComparisonFolder(tmp_path / "shared")
    create_or_open(result, tiny, "")
    return result


def take_turns(*processes: Iterator[jobs.JobProgress]) -> list[jobs.JobProgress]:
    """Let processes yield their progress in turn, until all have ended; return the last progress of each."""
    last, open_ones = {}, dict(enumerate(processes))
    while open_ones:
        for number, process in list(open_ones.items()):
            progress = next(process, None)
            if progress is None:
                del open_ones[number]
            else:
                last[number] = progress
    return [last[number] for number in sorted(last)]


def names(plan: ComparisonPlan) -> list[str]:
    return [job.name for job in jobs.list_jobs(plan)]


def test_processes_share_the_jobs_and_each_is_done_once(tiny: ComparisonPlan, folder: ComparisonFolder) -> None:
    last = take_turns(*(join_jobs(tiny, folder, InThisProcess(2)) for _ in range(3)))
    assert sorted(EXECUTED) == sorted(names(tiny))
    assert EXECUTED[0] == "anchors.ring", "nothing is trained before"
    assert [(one.done, one.total) for one in last] == [(9, 9)] * 3
    assert not list(folder.processes.iterdir()), "all have left"
    assert [one.done for one in join_jobs(tiny, folder, InThisProcess())][-1] == 9
    assert len(EXECUTED) == 9, "a later process finds nothing to do"


def test_a_failed_job_is_reported_by_all_and_tried_again_when_its_file_is_deleted(
    tiny: ComparisonPlan, folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.jobs.claimed_queue.TRUST_SECONDS", 0.0)
    name = names(tiny)[-1]
    take_turns(*(join_jobs(tiny, folder, InThisProcess(codes={name: 1})) for _ in range(2)))
    assert jobs.list_failures(tiny, folder) == {name: f"output of {name}"}
    assert name not in EXECUTED
    take_turns(join_jobs(tiny, folder, InThisProcess()))
    assert name not in EXECUTED, "other processes do not repeat what fails"
    folder.failed(name).unlink()
    assert take_turns(join_jobs(tiny, folder, InThisProcess()))[0].done == 9
    assert EXECUTED.count(name) == 1


def test_a_job_whose_process_is_killed_is_tried_again_and_fails_in_the_end(
    tiny: ComparisonPlan, folder: ComparisonFolder
) -> None:
    """Memory may have run out for a moment, or always."""
    name = names(tiny)[-1]
    started = []

    class Killing(InThisProcess):
        def start(self, call: Call) -> EndedCallInThisProcess:
            started.append(call.name)
            return super().start(call)

    last = take_turns(join_jobs(tiny, folder, Killing(codes={name: -9})))[0]
    assert started.count(name) == 3
    assert (last.done, list(jobs.list_failures(tiny, folder))) == (8, [name])


def test_an_error_of_a_drive_is_tried_again(
    tiny: ComparisonPlan, folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute, name, errors = job_calls.execute_job, names(tiny)[-1], [errno.EHOSTDOWN, errno.ESTALE]

    def execute_on_drive(folder: ComparisonFolder, job: Job, interrupted: Callable[[], bool]) -> bool:
        if job.name == name and errors:
            number = errors.pop()
            raise OSError(number, os.strerror(number))
        return execute(folder, job, interrupted)

    monkeypatch.setattr("equipoise.comparison.job_calls.execute_job", execute_on_drive)
    assert take_turns(join_jobs(tiny, folder, InThisProcess()))[0].done == 9
    assert not errors
    assert not jobs.list_failures(tiny, folder)


def test_a_process_waits_for_a_drive_that_does_not_answer(
    tiny: ComparisonPlan, folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, errors = DriveFiles.read, [errno.ESTALE, errno.EIO]

    def read_later(files: DriveFiles, name: str) -> tuple[bytes, int] | None:
        if errors:
            raise OSError(errors.pop(), "")
        return read(files, name)

    monkeypatch.setattr(DriveFiles, "read", read_later)
    assert take_turns(join_jobs(tiny, folder, InThisProcess()))[0].done == 9
    assert not errors


@pytest.mark.parametrize("error", [MemoryLimitError("needs 900 GiB"), BlockedError("needs the run a")])
def test_a_job_that_is_impossible_here_has_not_failed(
    tiny: ComparisonPlan, folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Another machine may have the memory, and the other job may be done later."""
    execute, name = job_calls.execute_job, names(tiny)[-1]

    def refuse(folder: ComparisonFolder, job: Job, interrupted: Callable[[], bool]) -> bool:
        if job.name == name:
            raise error
        return execute(folder, job, interrupted)

    with monkeypatch.context() as patch:
        patch.setattr("equipoise.comparison.job_calls.execute_job", refuse)
        events = list(join_jobs(tiny, folder, InThisProcess()))
    assert [one.error for one in events if one.job and one.job.name == name] == [f"output of {name}"]
    assert events[-1].done == 8
    assert not list(folder.path.glob("failed/*"))
    assert take_turns(join_jobs(tiny, folder, InThisProcess()))[0].done == 9


def test_a_process_that_lost_its_job_cannot_fail_it(tiny: ComparisonPlan, folder: ComparisonFolder) -> None:
    """It may fail because the process that took over replaced its files."""
    name, locks = names(tiny)[-1], DriveFiles(folder.path / "locks")

    class Robbed(InThisProcess):
        def start(self, call: Call) -> EndedCallInThisProcess:
            if call.name == name:
                claim = ClaimFolder(locks, this_process()).read(name)
                holder = dataclasses.replace(this_process(), machine="another")
                assert locks.create(f"{name}.claim-{claim.number + 1}", locks.read(f"{name}.claim")[0])
                JobClaim(locks, name, claim.number + 1, holder).end("held")
            return super().start(call)

    process = join_jobs(tiny, folder, Robbed(codes={name: 1}))
    for _ in range(9):
        next(process)
    process.close()
    assert not list(folder.path.glob("failed/*"))


def test_files_of_a_job_that_is_done_count_more_than_a_failure(tiny: ComparisonPlan, folder: ComparisonFolder) -> None:
    take_turns(join_jobs(tiny, folder, InThisProcess()))
    name = names(tiny)[-1]
    folder.failed(name).parent.mkdir()
    folder.failed(name).write_text("an error\n")
    assert take_turns(join_jobs(tiny, folder, InThisProcess()))[0].done == 9
    assert jobs.list_failures(tiny, folder) == {}
    record_end(folder, name, 0)
    assert not folder.failed(name).exists()


def test_lost_claims_do_not_count_as_kills(tiny: ComparisonPlan, folder: ComparisonFolder) -> None:
    """Machines that vanish say nothing about a job, and a job may be killed twice before it has failed."""
    name, locks = names(tiny)[-1], folder.path / "locks"
    locks.mkdir()
    for _ in range(2):
        assert ClaimFolder(DriveFiles(locks), dataclasses.replace(this_process(), started="0")).take(name) is not None
    backend, killed = InThisProcess(codes={name: -9}), []

    class Killing(InThisProcess):
        def start(self, call: Call) -> EndedCallInThisProcess:
            if call.name == name:
                killed.append(call.name)
                backend.codes = {} if len(killed) == 3 else backend.codes
            return backend.start(call)

    last = take_turns(join_jobs(tiny, folder, Killing()))[0]
    assert len(killed) == 3
    assert not jobs.list_failures(tiny, folder)
    assert last.done == last.total


def test_progress_begins_with_what_is_done(tiny: ComparisonPlan, folder: ComparisonFolder) -> None:
    take_turns(join_jobs(tiny, folder, InThisProcess()))
    first = next(join_jobs(tiny, folder, InThisProcess()))
    assert first.done == first.total > 0


def test_a_refused_process_leaves_no_trace_of_its_machine(
    tiny: ComparisonPlan, folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = jobs.execute_jobs(tiny, folder, InThisProcess())
    next(alone)
    other = machines.MachineFacts("far", "another processor", {})
    monkeypatch.setattr(machines, "this_machine", lambda: other)
    with pytest.raises(RunError, match="without --join"):
        next(join_jobs(tiny, folder, InThisProcess()))
    assert other not in machines.read_machines(folder)
    alone.close()
    next(join_jobs(tiny, folder, InThisProcess()))
    assert other in machines.read_machines(folder)


def test_a_job_that_takes_down_its_machines_fails_and_the_others_go_on(
    tiny: ComparisonPlan, folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.jobs.claims.MAX_LOST", -1)
    name = names(tiny)[3]
    (folder.path / "locks").mkdir()
    locks = DriveFiles(folder.path / "locks")
    claim = ClaimFolder(locks, dataclasses.replace(this_process(), started="0")).take(name)
    assert claim is not None
    last = take_turns(join_jobs(tiny, folder, InThisProcess()))[0]
    assert last.done == 8
    assert "was given up, because its process was lost 1 times" in jobs.list_failures(tiny, folder)[name]


def test_a_job_that_was_taken_over_is_left_to_the_other_process(tiny: ComparisonPlan, folder: ComparisonFolder) -> None:
    """The code of a lost claim is no failure; the process that has the job ends it."""
    name = names(tiny)[2]
    process = join_jobs(tiny, folder, InThisProcess(codes={name: 75}))
    for _ in range(6):
        next(process)
    process.close()
    assert not jobs.list_failures(tiny, folder)
    assert take_turns(join_jobs(tiny, folder, InThisProcess()))[0].done == 9


def test_interrupted_jobs_are_given_back(tiny: ComparisonPlan, folder: ComparisonFolder) -> None:
    name = names(tiny)[1]
    is_stopped: list[bool] = []
    process = join_jobs(
        tiny, folder, InThisProcess(codes=dict.fromkeys(names(tiny)[1:], 130)), lambda: bool(is_stopped)
    )
    next(process), next(process)
    is_stopped.append(True)
    assert list(process) == []
    assert name not in EXECUTED
    assert take_turns(join_jobs(tiny, folder, InThisProcess()))[0].done == 9


def test_a_full_disk_on_one_machine_loses_no_job(
    tiny: ComparisonPlan, folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process stops with one line; others do all jobs."""

    def full(*args: object) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("equipoise.comparison.job_calls.execute_job", full)
        with pytest.raises(RunError, match=r"no space left on .*shared.* was given back; free some space"):
            list(join_jobs(tiny, folder, InThisProcess()))
    assert not jobs.list_failures(tiny, folder)
    assert take_turns(join_jobs(tiny, folder, InThisProcess()))[0].done == 9


def test_a_process_without_claims_and_others_exclude_each_other(tiny: ComparisonPlan, folder: ComparisonFolder) -> None:
    joined = join_jobs(tiny, folder, InThisProcess())
    next(joined)
    with pytest.raises(RunError, match=r"is in use by another process with --join on .*; add --join"):
        next(jobs.execute_jobs(tiny, folder, InThisProcess()))
    joined.close()
    alone = jobs.execute_jobs(tiny, folder, InThisProcess())
    next(alone)
    with pytest.raises(RunError, match=r"is in use by another process on .*, without --join; wait until"):
        next(join_jobs(tiny, folder, InThisProcess()))
    alone.close()
    (folder.processes / "dead.json").write_text(
        json.dumps({"mode": "alone", **dataclasses.replace(this_process(), started="0").to_json()})
    )
    next(join_jobs(tiny, folder, InThisProcess()))


@pytest.mark.parametrize("is_remote", [False, True], ids=["local", "ray"])
def test_two_processes_without_claims_exclude_each_other(
    tiny: ComparisonPlan, folder: ComparisonFolder, is_remote: bool
) -> None:
    """Runs on Ray and on this machine, or both on Ray; also on another machine, whose lock is not visible here."""
    first = jobs.execute_jobs(tiny, folder, InThisProcess(is_remote=True))
    next(first)
    with pytest.raises(RunError, match=r"shared.* is in use by another process"):
        next(jobs.execute_jobs(tiny, folder, InThisProcess(is_remote=is_remote)))
    first.close()
    far = {"mode": "alone", **dataclasses.replace(this_process(), machine="far", host="node9").to_json()}
    (folder.processes / "far.json").write_text(json.dumps(far))
    with pytest.raises(RunError, match=r"shared is in use by another process on node9 .*wait until"):
        next(jobs.execute_jobs(tiny, folder, InThisProcess(is_remote=is_remote)))
    assert not EXECUTED


def test_process_on_another_machine_counts_for_the_time_of_a_lease(
    tiny: ComparisonPlan, folder: ComparisonFolder
) -> None:
    folder.processes.mkdir(parents=True)
    path = folder.processes / "far.json"
    path.write_text(json.dumps({"mode": "alone", **dataclasses.replace(this_process(), machine="far").to_json()}))
    with pytest.raises(RunError, match="without --join"):
        next(join_jobs(tiny, folder, InThisProcess()))
    before = path.stat().st_mtime - claims_module.LEASE_SECONDS - 1
    os.utime(path, (before, before))
    next(join_jobs(tiny, folder, InThisProcess()))


def test_process_whose_number_may_be_used_again_counts_for_the_time_of_a_lease(
    tiny: ComparisonPlan, folder: ComparisonFolder
) -> None:
    """On macOS and Windows the number of a killed process does not show that it has ended."""
    folder.processes.mkdir(parents=True)
    path = folder.processes / "killed.json"
    path.write_text(json.dumps({"mode": "alone", **dataclasses.replace(this_process(), started="").to_json()}))
    before = path.stat().st_mtime - claims_module.LEASE_SECONDS - 1
    os.utime(path, (before, before))
    next(join_jobs(tiny, folder, InThisProcess()))


def test_a_remote_call_waits_for_the_claim_of_its_predecessor(tiny: ComparisonPlan, folder: ComparisonFolder) -> None:
    """Ray repeats a call when its machine does not respond, whether or not it still runs."""
    job = jobs.list_jobs(tiny)[1]
    claims = ClaimFolder(DriveFiles(folder.path / "locks"), this_process())
    folder.processes.mkdir(parents=True)
    claim = claims.take(job.name)
    assert not execute_when_free(folder, job, lambda: True), "interrupted while it waits"
    claim.end("free")
    assert execute_when_free(folder, job, lambda: False)
    assert claims.read(job.name).state == "done"
    assert [one.done for one in jobs.execute_jobs(tiny, folder, InThisProcess(is_remote=True))][-1] == 9


def test_two_processes_create_the_folder_at_once(
    tiny: ComparisonPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first plan counts; a process with another one is refused."""
    other = dataclasses.replace(tiny, seeds=(5,))
    link = os.link

    def link_after_another(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        create_or_open(ComparisonFolder(tmp_path / "shared"), tiny, "")
        link(source, target)

    monkeypatch.setattr(os, "link", link_after_another)
    with pytest.raises(RunError, match="contains a comparison of another plan"):
        create_or_open(ComparisonFolder(tmp_path / "shared"), other, "")
    assert not list((tmp_path / "shared").glob(".plan*"))


def other_claims(folder: ComparisonFolder) -> ClaimFolder:
    """Claims of a process on another machine."""
    (folder.path / "locks").mkdir(exist_ok=True)
    return ClaimFolder(DriveFiles(folder.path / "locks"), dataclasses.replace(this_process(), machine="far"))


def test_the_report_is_written_after_one_that_was_begun_before(
    folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one may not contain what this process has done."""
    order: list[str] = []
    earlier = other_claims(folder).take("report")
    assert earlier is not None
    monkeypatch.setattr("time.sleep", lambda seconds: (order.append("waited"), earlier.end("free")))
    write_once(folder, "report", lambda: order.append("written"))
    assert order == ["waited", "written"]


def test_the_report_of_a_process_that_began_later_suffices(
    folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = other_claims(folder)
    earlier = others.take("report")
    assert earlier is not None
    monkeypatch.setattr("time.sleep", lambda seconds: (earlier.end("free"), others.take("report")))
    write_once(folder, "report", lambda: pytest.fail("written twice"))


def test_an_interrupted_process_leaves_the_report_to_others(folder: ComparisonFolder) -> None:
    assert other_claims(folder).take("report") is not None
    write_once(folder, "report", lambda: pytest.fail("written twice"), lambda: True)


def test_the_report_of_a_machine_that_vanished_is_written_after_the_lease(
    folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert other_claims(folder).take("report") is not None
    seconds, written = [0.0], []
    watching = functools.partial(ClaimFolder, clock=lambda: seconds[0])
    monkeypatch.setattr("equipoise.comparison.joined.ClaimFolder", watching)
    monkeypatch.setattr("time.sleep", lambda wait: seconds.__setitem__(0, seconds[0] + 50))
    write_once(folder, "report", lambda: written.append("written"))
    assert written == ["written"]
    assert seconds[0] >= claims_module.LEASE_SECONDS


def test_other_versions_and_machines(folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    here = this_machine()
    assert check_machine(folder, here) == []
    record_machine(folder, here)
    other = dataclasses.replace(here, host="node2", versions={**here.versions, "torch": "1.0"})
    assert "node2 has torch 1.0 instead of" in check_machine(folder, other)[0]
    amd = dataclasses.replace(here, host="node3", processor="AMD 1")
    assert "node3 has the processor AMD 1" in check_machine(folder, amd)[0]
    assert describe_machines([here, here]) == []
    assert "machines of 2 kinds" in describe_machines([here, amd])[0]
    newer = dataclasses.replace(here, host="node4", versions={**here.versions, "equipoise": "99"})
    with pytest.raises(RunError, match=r"was started with equipoise .*, but node4 has 99; install that version"):
        check_machine(folder, newer)
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "8")
    monkeypatch.setattr(machines, "_file_system", lambda path: "tmpfs")
    assert "which tasks on other nodes do not see" in check_machine(folder, here)[0]
    monkeypatch.setattr(machines, "_file_system", lambda path: "nfs4")
    assert check_machine(folder, here) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--join"], "--join needs --out"),
        (["--join", "--on", "ray", "--out", "x"], "use one of them"),
        (["--on", "dask"], "there is no backend 'dask' for --on; available: local, ray"),
        (["--gpus-per-run", "0.5"], "--gpus-per-run needs --on ray"),
        (["--join", "--out", "x", "--processes", "0"], "--processes 0: it must be at least 1"),
    ],
)
def test_flags_that_do_not_fit(
    flags: list[str], message: str, working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("plan.toml").write_text('seeds = [0]\n[arms.a]\n[tasks.ring]\ndata = "ring"\nreported = "modes"\n')
    assert cli.run(["compare", "plan.toml", *flags]) == 2
    assert message in capsys.readouterr().err
    assert not Path("x").exists()


def test_a_run_waits_for_the_one_that_it_starts_from(tiny: ComparisonPlan, tmp_path: Path) -> None:
    arms = {"later": Arm(start_from="first"), "first": Arm()}
    plan = dataclasses.replace(tiny, arms=arms, seeds=(0,), regimes={})
    folder = ComparisonFolder(tmp_path / "shared")
    create_or_open(folder, plan, "")
    take_turns(*(join_jobs(plan, folder, InThisProcess(2)) for _ in range(2)))
    assert EXECUTED == ["anchors.ring", "ring.first.seed0", "ring.later.seed0"]


def test_a_process_says_what_it_begins_and_that_it_waits(
    tiny: ComparisonPlan, folder: ComparisonFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str | None] = []
    other = other_claims(folder)
    held = other.take(names(tiny)[0])
    assert held is not None

    class Waiting(InThisProcess):
        def wait(self, running: Iterable[RunningCall]) -> None:
            held.end("free")  # the other process gives its job back

    take_turns(join_jobs(tiny, folder, AnnouncedBackend(Waiting(), said.append)))
    assert said[0] is None
    assert sorted(filter(None, said)) == sorted(names(tiny))
    assert said.count(None) == 1, "said once"
