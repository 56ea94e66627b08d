"""Claims: one holder at a time, lost ones are taken over, and a holder that lost one stops without writing."""

import dataclasses
import errno
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise.errors import RunError
from equipoise.jobs import claims as module
from equipoise.jobs.backend import ClaimLostError
from equipoise.jobs.claim_files import DriveFiles
from equipoise.jobs.claims import LEASE_SECONDS, MAX_LOST, SECOND_LOOK_SECONDS, ClaimFolder, JobClaim, claim_name
from equipoise.jobs.identity import identity_from_json, this_process


def test_a_job_has_one_holder(process) -> None:
    first, second = process("a"), process("b")
    claim = first.take("job")
    assert claim is not None
    assert second.take("job") is None
    assert first.take("job") is None, "also for the holder itself"
    assert claim.is_current
    claim.end("free")
    again = second.take("job")
    assert again is not None
    assert (again.number, again.lost) == (1, 0), "a claim that was given back is not lost"


@pytest.mark.parametrize("ahead", [-7200.0, 0.0, 7200.0])
def test_a_claim_is_lost_only_if_it_was_seen_unchanged_for_the_whole_lease(process, clock, ahead: float) -> None:
    """Clocks of machines may differ by hours."""
    first, second = process("a"), process("b", ahead)
    claim = first.take("job")
    clock.seconds = 1e6
    assert second.take("job") is None, "it was seen for the first time"
    clock.seconds += LEASE_SECONDS - 1
    claim.touch()
    assert second.take("job") is None, "it has changed in the meantime"
    clock.seconds += LEASE_SECONDS - 1
    assert second.take("job") is None
    clock.seconds += 1
    assert second.take("job") is None, "the drive may just have come back, and the holder with it"
    clock.seconds += SECOND_LOOK_SECONDS
    taken = second.take("job")
    assert (taken.number, taken.lost) == (1, 1)
    assert not claim.is_current
    with pytest.raises(ClaimLostError, match="job was taken over by another process"):
        claim.check()


def test_a_holder_that_comes_back_with_its_drive_keeps_its_claim(process, clock) -> None:
    first, second = process("a"), process("b")
    claim = first.take("job")
    assert second.take("job") is None
    clock.seconds += 10 * LEASE_SECONDS
    assert second.take("job") is None, "the first look after the outage"
    claim.touch()
    clock.seconds += LEASE_SECONDS
    assert second.take("job") is None
    assert claim.is_current


def test_a_process_does_not_take_over_the_claim_of_its_own_child(process, clock) -> None:
    """The child may stand still, stopped or without memory, while its parent lives."""
    first = process("a")
    assert first.take("job") is not None
    for _ in range(3):
        clock.seconds += LEASE_SECONDS
        assert first.take("job") is None


def test_a_drive_that_cannot_be_reached_does_not_end_a_job(process) -> None:
    class Unreachable(DriveFiles):
        def read(self, name: str) -> tuple[bytes, int] | None:
            raise OSError(errno.EHOSTDOWN, os.strerror(errno.EHOSTDOWN))

    claim = process("a").take("job")
    dataclasses.replace(claim, files=Unreachable(Path("gone"))).check()


def test_a_process_that_nobody_has_waited_for_has_ended(tmp_path: Path) -> None:
    """As in a container without an init process."""
    script = f"import sys; sys.path[:0] = {sys.path!r}; from equipoise.jobs.identity import this_process; "
    script += "import json; print(json.dumps(this_process().to_json()), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        identity = identity_from_json(json.loads(child.stdout.readline()))
        assert not identity.has_ended
        child.stdin.write("\n")
        child.stdin.flush()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and remains in the table of processes
        assert identity.has_ended


def test_of_two_that_take_over_one_wins(process, clock) -> None:
    holder, others = process("a"), [process("b"), process("c")]
    holder.take("job")
    assert [one.take("job") for one in others] == [None, None]
    clock.seconds += LEASE_SECONDS
    assert [one.take("job") for one in others] == [None, None]
    clock.seconds += SECOND_LOOK_SECONDS
    assert [one.take("job") is not None for one in others] == [True, False]
    clock.seconds += LEASE_SECONDS - 1
    assert others[1].take("job") is None, "the new claim has its own lease"


def test_a_revived_holder_cannot_revive_its_claim(process, clock) -> None:
    first, second = process("a"), process("b")
    lost = first.take("job")
    second.take("job")
    clock.seconds += LEASE_SECONDS
    second.take("job")
    clock.seconds += SECOND_LOOK_SECONDS
    taken = second.take("job")
    lost.touch()
    lost.end("free")
    assert taken.is_current
    assert process("c").take("job") is None


def test_a_job_that_takes_down_its_machines_is_given_up(process, clock) -> None:
    process("victim").take("job")
    for number in range(MAX_LOST):
        assert take_after_lease(process(f"victim {number}"), clock) is not None
    with pytest.raises(RunError, match=f"job was given up, because its process was lost {MAX_LOST + 1} times"):
        take_after_lease(process("observer"), clock)


def test_a_claim_of_a_process_that_ended_on_this_machine_is_free_at_once(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from equipoise.jobs.claims import ClaimFolder\n"
        "from equipoise.jobs.claim_files import DriveFiles\n"
        "from equipoise.jobs.identity import this_process\n"
        "assert ClaimFolder(DriveFiles(pathlib.Path(sys.argv[1])), this_process()).take('job')\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    claim = ClaimFolder(DriveFiles(tmp_path), this_process()).take("job")
    assert claim is not None
    assert claim.lost == 1
    assert ClaimFolder(DriveFiles(tmp_path), this_process()).take("job") is None, "this process runs"


def test_an_incomplete_claim_belongs_to_somebody_until_its_lease_ends(process, files, clock) -> None:
    files.create(claim_name("job", 0), b'{"state": "he')
    assert take_after_lease(process("a"), clock) is not None


def test_a_process_number_that_is_used_again_is_another_process() -> None:
    here = this_process()
    assert not here.has_ended
    assert dataclasses.replace(here, started="1").has_ended
    assert not dataclasses.replace(here, machine="another", pid=2**22 + 1).has_ended, "nothing is known of it"
    assert identity_from_json(here.to_json()) == here


def test_holder_touches_its_claim_and_notices_its_loss(process, files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOUCH_SECONDS", 0.01)
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.0)
    claim = process("a").take("job")
    before = files.versions["job.claim"]
    with claim.alive(lambda: False) as interrupted:
        while files.versions["job.claim"] < before + 3:
            assert not interrupted()
        files.create(claim_name("job", 1), b"{}")
        with pytest.raises(ClaimLostError):
            interrupted()


def test_files_on_a_drive(tmp_path: Path) -> None:
    files = pickle.loads(pickle.dumps(DriveFiles(tmp_path)))
    assert files.read("x") is None
    assert files.create("x", b"1")
    assert not files.create("x", b"2")
    content, before = files.read("x")
    assert content == b"1"
    os.utime(tmp_path / "x", (0, 0))
    files.touch("x")
    assert files.read("x")[1] >= before
    files.replace("x", b"3")
    assert files.read("x")[0] == b"3"
    with pytest.raises(FileNotFoundError):
        files.touch("y")
    assert {path.name for path in tmp_path.iterdir()} == {"x"}, "no claim appears by touching"


@pytest.mark.parametrize("links", [True, False])
def test_a_claim_that_cannot_be_written_blocks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    files = DriveFiles(tmp_path)
    with monkeypatch.context() as patch:
        if links:
            patch.setattr(Path, "write_bytes", raise_error(errno.ENOSPC))
        else:
            patch.setattr(os, "link", raise_error(errno.EPERM))
            patch.setattr(os, "fdopen", raise_error(errno.ENOSPC))
        with pytest.raises(OSError, match="No space"):
            files.create("job.claim", b"{}")
    assert not list(tmp_path.iterdir())
    assert ClaimFolder(files, this_process()).take("job") is not None


def test_claims_on_a_drive_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", raise_error(errno.EPERM))
    files = DriveFiles(tmp_path)
    assert files.create("x", b"1")
    assert not files.create("x", b"2")
    assert files.read("x")[0] == b"1"
    assert {path.name for path in tmp_path.iterdir()} == {"x"}


def test_a_link_that_nfs_has_made_twice_is_a_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    files = DriveFiles(tmp_path)
    assert files.create("x", b"1")
    assert not files.create("x", b"2")
    assert files.read("x")[0] == b"1"


def take_after_lease(process, clock) -> JobClaim | None:
    """Take a job that another process holds and has not touched for the whole lease."""
    for seconds in (LEASE_SECONDS, SECOND_LOOK_SECONDS):
        assert process.take("job") is None
        clock.seconds += seconds
    return process.take("job")


def raise_error(number: int) -> Callable[..., None]:
    """Return a function that fails with an error of the operating system."""

    def fail(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail
