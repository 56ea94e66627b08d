"""Jobs that any number of processes take from a shared folder: each is done once, whatever happens to a process."""

import random
import time
from collections.abc import Callable, Sequence

from equipoise.jobs.claims import ClaimFolder, JobClaim

RESCAN_SECONDS = 30.0
"""Shortest time between two looks at a job that another process holds."""
MAX_JUMPS = 8
"""How often a process that meets a claimed job jumps to a random place in the list, before it goes through all jobs."""
LOOK_SECONDS = 5.0
"""Shortest time between two looks at the files of a job that others wait for."""
TRUST_SECONDS = 90.0
"""How long the claim of an ended job is trusted while the files of the job are not visible yet: NFS caches directories
for up to 60 s. Afterwards the files decide: if they are missing, somebody has deleted them."""


class ClaimedQueue:
    """A list of jobs, as one process sees it. Mutable: remembers which have ended, and where it was in the list.

    `has_ended`: whether the files of a job show that it is done or has failed. `start`: where to begin in the list,
    from 0 to 1, so that processes do not compete for the same jobs; `group`: number of jobs that are begun together.
    `clock`: as of ClaimFolder.
    """

    def __init__(
        self,
        jobs: Sequence[str],
        claims: ClaimFolder,
        has_ended: Callable[[str], bool],
        start: float | None = None,
        group: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.claims, self.has_ended, self.clock, self.group = claims, has_ended, clock, group
        start = random.random() if start is None else start
        begin = int(start * (len(jobs) // group)) * group
        self._open = [*jobs[begin:], *jobs[:begin]]
        self._position, self._random = 0, random.Random(start)
        self._ended: set[str] = set()
        self._next_look: dict[str, float] = {}
        self._next_file_look: dict[str, float] = {}

    @property
    def is_empty(self) -> bool:
        """Whether all jobs are done or have failed, as far as this process has looked."""
        return self._ended.issuperset(self._open)

    def take(self, is_ready: Callable[[str], bool] = lambda job: True) -> JobClaim | None:
        """Take the next job that is ready and that nobody works on; None if there is none.

        Continues after the job taken last, jumps elsewhere if another process holds a job, and starts over at the
        end of the list.
        """
        jumps = MAX_JUMPS
        for _ in range(2):
            while self._position < len(self._open):
                job = self._open[self._position]
                self._position += 1
                if not self._is_due(job) or not is_ready(job):
                    continue
                if claim := self._take(job):
                    return claim
                if jumps and job not in self._ended:
                    jumps -= 1
                    self._position = self._random.randrange(max(1, len(self._open) // self.group)) * self.group
            self._open = [job for job in self._open if job not in self._ended]
            self._position = 0
        return None

    def mark_ended(self, job: str) -> None:
        """Remember that a job has ended."""
        self._ended.add(job)

    def is_known_ended(self, job: str) -> bool:
        """Whether this process knows that a job is done or has failed."""
        return job in self._ended

    def check_ended(self, job: str) -> bool:
        """Whether a job is done or has failed; looks at its files every LOOK_SECONDS."""
        if job not in self._ended and self.clock() >= self._next_file_look.get(job, -1e12):
            self._next_file_look[job] = self.clock() + LOOK_SECONDS
            if self.has_ended(job):
                self._ended.add(job)
        return job in self._ended

    def _is_due(self, job: str) -> bool:
        return job not in self._ended and self.clock() >= self._next_look.get(job, -1e12)

    def _take(self, job: str) -> JobClaim | None:
        """Take a job unless its files or its claim show that it has ended or is being executed."""
        if self.has_ended(job):
            self._ended.add(job)
            return None
        record = self.claims.read(job)
        has_result = record is not None and record.state in ("done", "failed")
        if record is not None and has_result and self.claims.unchanged_for(job, record) < TRUST_SECONDS:
            self._postpone(job)
            return None
        claim = self.claims.take(job)
        if claim is None:
            self._postpone(job)
        elif self.has_ended(job):  # since the last look
            claim.end("done")
            self._ended.add(job)
            return None
        return claim

    def _postpone(self, job: str) -> None:
        self._next_look[job] = self.clock() + RESCAN_SECONDS
