"""Claims: how any number of processes and machines share jobs through a folder, without messages.

    NAME.claim, NAME.claim-1, …     who works on the job NAME, or has done so; the last file counts

A claim is a file that is created exclusively, so that one process has it. Its holder touches it every half minute.
Every other process watches it with its own clock: a claim that has not changed for LEASE_SECONDS while it was watched
is lost, and is taken over by creating the file of the next number, exclusively again. No clocks are compared, so they
may differ; no file is deleted or renamed, so nobody can take a claim that was taken over already. A process that has
ended on the same machine loses its claims at once. A holder that finds a next number stops without writing.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Literal, Protocol

from equipoise.errors import RunError
from equipoise.jobs.backend import ClaimLostError
from equipoise.jobs.identity import ProcessIdentity, identity_from_json

LEASE_SECONDS = 300.0
"""Time without a change after which a claim is lost, if a second look finds it unchanged, too: the first one may come
at the end of an outage of the drive, before the holder could touch the claim. File attributes are cached for up to 60 s
on NFS."""
TOUCH_SECONDS = 30.0
SECOND_LOOK_SECONDS = 10.0
"""Shortest time between the two looks at which a claim is older than its lease."""
CHECK_SECONDS = 1.0
"""Shortest time between two looks at one's own claim."""
MAX_LOST = 20
"""A job whose claims were lost more often is given up: it probably takes its machines down."""


class JobGivenUpError(RunError):
    """A job whose claims were lost too often. `job`: its name."""

    def __init__(self, job: str, lost: int) -> None:
        super().__init__(
            f"{job} was given up, because its process was lost {lost} times; see how much memory it needs, then run "
            "the comparison without --join and --on"
        )
        self.job = job


ClaimState = Literal["held", "free", "done", "failed"]


class ClaimFiles(Protocol):
    """The files of a folder that all processes see."""

    def create(self, name: str, content: bytes) -> bool:
        """Create a file that does not exist; return whether this process created it."""

    def read(self, name: str) -> tuple[bytes, int] | None:
        """Return the content and a number that changes when the file is touched; None if it does not exist."""

    def replace(self, name: str, content: bytes) -> None:
        """Replace the content of a file, atomically."""

    def touch(self, name: str) -> None:
        """Change the number that `read` returns."""


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """The last claim of a job. `holder`: None if the file is incomplete.

    `lost`: number of earlier claims whose process vanished. `kills`: number of earlier claims that were given back,
    because a signal killed the process of the job, or because it could not reach the drive.
    """

    number: int
    state: ClaimState
    holder: ProcessIdentity | None
    lost: int
    kills: int
    version: int


@dataclass(frozen=True, slots=True)
class JobClaim:
    """A claim of a job that this process holds. It can be pickled, and used by another process instead."""

    files: ClaimFiles
    job: str
    number: int
    holder: ProcessIdentity
    lost: int = 0
    kills: int = 0

    @property
    def is_current(self) -> bool:
        """Whether nobody has taken over the job."""
        return self.files.read(claim_name(self.job, self.number + 1)) is None

    def touch(self) -> None:
        """Show that the holder is alive."""
        self.files.touch(claim_name(self.job, self.number))

    def end(self, state: ClaimState, *, is_killed: bool = False) -> None:
        """End the claim: the job is done, has failed, or is free for another process. `is_killed`: it was killed."""
        content = _encode(state, self.holder, self.lost, self.kills + is_killed)
        self.files.replace(claim_name(self.job, self.number), content)

    @contextmanager
    def alive(self, interrupted: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
        """Touch the claim regularly in the context; yield `interrupted`, which raises ClaimLostError if it is lost."""
        stop = Event()
        checked = clock_with_sleep()

        def check() -> bool:
            nonlocal checked
            if clock_with_sleep() - checked >= CHECK_SECONDS:
                self.check()
                checked = clock_with_sleep()
            return interrupted()

        thread = Thread(target=self._touch_until, args=(stop,), daemon=True)
        thread.start()
        try:
            yield check
        finally:
            stop.set()
            thread.join()

    def check(self) -> None:
        """Raise ClaimLostError if another process has taken over the job; unknown if the drive cannot be reached."""
        try:
            is_current = self.is_current
        except OSError:
            return
        if not is_current:
            raise ClaimLostError(
                f"{self.job} was taken over by another process, because this one did not respond for "
                f"{LEASE_SECONDS:.0f} s; nothing more is written here"
            )

    def _touch_until(self, stop: Event) -> None:
        while not stop.wait(TOUCH_SECONDS):
            try:
                self.touch()
            except OSError:  # the drive is not reachable; the next look at the claim decides
                continue


@dataclass(slots=True)
class _Watched:
    """A file as it was first seen: its version, and the time on the clock of this process.

    `overdue`: time of the first look at which it was unchanged for longer than the lease.
    """

    version: tuple[int, int]
    since: float
    overdue: float | None = None


@dataclass(slots=True)
class ClaimFolder:
    """All claims in a folder, as one process sees them. Mutable: remembers since when each claim is unchanged.

    `holder`: this process. `clock`: seconds that never go back, of this machine alone.
    """

    files: ClaimFiles
    holder: ProcessIdentity
    clock: Callable[[], float] = time.monotonic
    lease: float = LEASE_SECONDS
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _records: dict[str, ClaimRecord] = field(default_factory=dict)

    def read(self, job: str) -> ClaimRecord | None:
        """Return the last claim of a job; None if there is none."""
        known = self._records.get(job)
        number = known.number if known else 0
        file = self.files.read(claim_name(job, number))
        if file is None and number:  # its process could not write it, and has deleted it
            number, file = 0, self.files.read(claim_name(job, 0))
        if file is None:
            return None
        while (following := self.files.read(claim_name(job, number + 1))) is not None:
            number, file = number + 1, following
        content, version = file
        if known is None or (known.number, known.version) != (number, version):
            known = self._records[job] = _decode(content, number, version)
        return known

    def take(self, job: str) -> JobClaim | None:
        """Take a job that nobody holds, or whose holder is lost; None if another process has it.

        Raises JobGivenUpError for a job whose claims were lost more than MAX_LOST times.
        """
        record = self.read(job)
        if record is None:
            return self._create(job, 0, 0, 0)
        is_lost = record.state == "held" and self._is_lost(job, record)
        if record.state == "held" and not is_lost:
            return None
        lost = record.lost + is_lost
        if lost > MAX_LOST:
            raise JobGivenUpError(job, lost)
        return self._create(job, record.number + 1, lost, record.kills)

    def unchanged_for(self, job: str, record: ClaimRecord) -> float:
        """Return for how many seconds this process has seen the claim unchanged."""
        version, now = (record.number, record.version), self.clock()
        seen = self._watched.get(job)
        if seen is None or seen.version != version:
            self._watched[job] = _Watched(version, now)
            return 0.0
        return now - seen.since

    def _is_lost(self, job: str, record: ClaimRecord) -> bool:
        if record.holder is not None and record.holder.token == self.holder.token:
            return False  # a child of this process holds it
        if record.holder is not None and record.holder.has_ended:
            return True
        if self.unchanged_for(job, record) < self.lease:
            return False
        watched, now = self._watched[job], self.clock()
        watched.overdue = now if watched.overdue is None else watched.overdue
        return now - watched.overdue >= SECOND_LOOK_SECONDS

    def _create(self, job: str, number: int, lost: int, kills: int) -> JobClaim | None:
        content = _encode("held", self.holder, lost, kills)
        if not self.files.create(claim_name(job, number), content):
            return None
        return JobClaim(self.files, job, number, self.holder, lost, kills)


def clock_with_sleep() -> float:
    """Return seconds that never go back and that count while the computer sleeps, where the system has such a clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def claim_name(job: str, number: int) -> str:
    """Return the name of the file of a claim."""
    return f"{job}.claim" if number == 0 else f"{job}.claim-{number}"


def _encode(state: ClaimState, holder: ProcessIdentity, lost: int, kills: int) -> bytes:
    return json.dumps({"state": state, "lost": lost, "kills": kills, **holder.to_json()}).encode() + b"\n"


def _decode(content: bytes, number: int, version: int) -> ClaimRecord:
    """Read a claim. The holder of one that is incomplete, because it is being written or was killed, is unknown."""
    try:
        values = json.loads(content)
        holder, state = identity_from_json(values), values["state"]
        lost, kills = int(values["lost"]), int(values.get("kills", 0))  # missing in claims of earlier versions
    except (ValueError, KeyError, TypeError):
        return ClaimRecord(number, "held", None, 0, 0, version)
    return ClaimRecord(number, state, holder, lost, kills, version)
