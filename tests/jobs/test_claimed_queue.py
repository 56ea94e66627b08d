"""A queue that many processes share: simulated with 10,000 jobs and failures, and real with kills."""

import importlib.util
import os
import random
import runpy
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

import pytest

from equipoise.jobs.claimed_queue import RESCAN_SECONDS, TRUST_SECONDS, ClaimedQueue
from equipoise.jobs.claims import LEASE_SECONDS, ClaimFolder


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    """The simulator of the benchmark, which uses the queue and the claims of the package."""
    path = Path(__file__).parents[2] / "benchmarks" / "_scale_simulation.py"
    spec = importlib.util.spec_from_file_location("_scale_simulation", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_ten_thousand_jobs_on_machines_that_vanish(simulation: ModuleType) -> None:
    """Every job is done exactly once, in at most 5 % more than the shortest possible time, whatever the clocks say."""
    failures = simulation.Failures(mean=12 * 3600, pause=120, checkpoint=60)
    outcome = simulation.simulate(10_000, processes=24, mean=600, failures=failures, seed=1)
    assert set(outcome.times_done.values()) == {1}
    assert len(outcome.times_done) == 10_000
    assert outcome.failures > 100
    assert 0 < outcome.lost < outcome.failures * 60
    assert outcome.makespan < 1.05 * outcome.bound


def test_a_single_process_wastes_no_time(simulation: ModuleType) -> None:
    outcome = simulation.simulate(100, processes=1, mean=10)
    assert outcome.makespan == pytest.approx(outcome.work)


@pytest.fixture
def queue(process: Callable[..., ClaimFolder], clock) -> Callable[..., ClaimedQueue]:
    """Create the view of one process of three jobs; `ended`: those whose files show that they have ended."""

    def create(name: str, ended: set[str], start: float = 0.0) -> ClaimedQueue:
        return ClaimedQueue(("a", "b", "c"), process(name), ended.__contains__, start, clock=clock)

    return create


def test_processes_begin_at_different_jobs_and_leave_none(queue) -> None:
    ended: set[str] = set()
    first, second = queue("1", ended), queue("2", ended, start=0.7)
    assert [one.take().job for one in (first, second, first)] == ["a", "c", "b"]
    assert first.take() is second.take() is None
    assert not first.is_empty
    ended |= {"a", "b", "c"}
    for job in ended:
        first.mark_ended(job)
    assert first.is_empty


def test_ended_jobs_are_not_taken_even_without_a_claim(queue) -> None:
    one = queue("1", {"a", "b"})
    assert one.take().job == "c"
    assert one.take() is None
    assert one.check_ended("a")


def test_a_job_that_is_not_ready_waits(queue) -> None:
    one = queue("1", set())
    assert one.take(lambda job: job == "b").job == "b"
    assert one.take(lambda job: job == "c").job == "c"
    assert one.take().job == "a"


def test_a_lost_job_is_taken_over_after_the_lease(queue, clock) -> None:
    first, second = queue("1", set()), queue("2", set())
    lost = first.take()
    assert [second.take().job, second.take().job] == ["b", "c"]
    assert second.take() is None, "seen for the first time"
    clock.seconds += LEASE_SECONDS
    assert second.take() is None, "the drive may just have come back"
    clock.seconds += RESCAN_SECONDS
    assert second.take().job == "a"
    assert not lost.is_current


def test_a_claim_counts_while_the_files_of_its_job_are_not_visible_yet(queue, clock) -> None:
    """Network drives show new files late; files that stay away were deleted, and the job is done again."""
    first, second = queue("1", set()), queue("2", set())
    first.take().end("done")
    assert second.take().job == "b"
    clock.seconds += RESCAN_SECONDS
    assert second.take().job == "c"
    assert second.take() is None
    clock.seconds += TRUST_SECONDS
    assert second.take().job == "a"


PROCESS = """
import os, pathlib, sys, time
from equipoise.jobs.claim_files import DriveFiles
from equipoise.jobs.claimed_queue import ClaimedQueue
from equipoise.jobs.claims import ClaimFolder
from equipoise.jobs.identity import this_process

folder = pathlib.Path(FOLDER)
results = folder / "results"
jobs = [f"job{number}" for number in range(COUNT)]
claims = ClaimFolder(DriveFiles(folder / "claims"), this_process())
queue = ClaimedQueue(jobs, claims, lambda job: (results / job).exists())
while not queue.is_empty:
    claim = queue.take()
    if claim is None:
        queue._next_look.clear()  # other processes are watched more often than in practice
        time.sleep(0.02)
        continue
    time.sleep(0.003)
    own = folder / f"{claim.job}-{os.getpid()}"
    own.write_text(str(os.getpid()))
    try:
        os.link(own, results / claim.job)  # fails if the job was done already
    except FileExistsError:
        (folder / "twice" / claim.job).touch()
    own.unlink()
    claim.end("done")
    queue.mark_ended(claim.job)
"""


def test_eight_processes_share_five_hundred_jobs_and_some_are_killed(tmp_path: Path) -> None:
    """Killed at any time, with claims and partial files: all jobs are done, none twice."""
    for name in ("claims", "results", "twice"):
        (tmp_path / name).mkdir()
    (tmp_path / "process.py").write_text(PROCESS)
    context, generator = get_context("forkserver"), random.Random(3)
    context.set_forkserver_preload(["equipoise.jobs.claimed_queue", "equipoise.jobs.claim_files"])

    def start():
        values = {"FOLDER": str(tmp_path), "COUNT": 500}
        process = context.Process(target=runpy.run_path, args=(str(tmp_path / "process.py"), values))
        process.start()
        return process

    running, killed = [start() for _ in range(8)], 0
    deadline = time.monotonic() + 120
    while any(process.is_alive() for process in running):
        assert time.monotonic() < deadline
        time.sleep(0.05)
        victim = generator.randrange(8)
        if killed < 12 and running[victim].is_alive() and list((tmp_path / "results").iterdir()):
            os.kill(running[victim].pid, signal.SIGKILL)
            running[victim].join()
            running[victim], killed = start(), killed + 1
    assert [process.exitcode for process in running] == [0] * 8
    assert len(list((tmp_path / "results").iterdir())) == 500
    assert not list((tmp_path / "twice").iterdir())
    assert killed
