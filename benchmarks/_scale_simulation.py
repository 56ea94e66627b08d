"""Simulation of many processes on one shared folder: their makespan, and what is lost with machines that vanish.

The queue and the claims are those of the package; files, clocks, jobs and failures are simulated, from one seed. Clocks
differ by up to an hour between processes.
"""

import heapq
import random
from dataclasses import dataclass, field

from equipoise.jobs.claimed_queue import RESCAN_SECONDS, ClaimedQueue
from equipoise.jobs.claims import TOUCH_SECONDS, ClaimFolder, JobClaim
from equipoise.jobs.identity import ProcessIdentity


@dataclass
class SimulatedFiles:
    """Files in memory. Claims of living processes change every TOUCH_SECONDS without being touched one by one."""

    now: float = 0.0
    content: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    living: set[str] = field(default_factory=set)
    changes: int = 0
    reads: int = 0

    def create(self, name: str, content: bytes) -> bool:
        if name in self.content:
            return False
        self.living.add(name)
        self.replace(name, content)
        return True

    def read(self, name: str) -> tuple[bytes, int] | None:
        self.reads += 1
        if name not in self.content:
            return None
        touched = int(self.now / TOUCH_SECONDS) if name in self.living else 0
        return self.content[name], self.versions[name] + touched

    def replace(self, name: str, content: bytes) -> None:
        self.changes += 1
        self.content[name], self.versions[name] = content, 10**9 + self.changes * 10**6

    def touch(self, name: str) -> None:
        self.versions[name] += 1


@dataclass(frozen=True)
class Failures:
    """Processes vanish after `mean` seconds on average, and come back after `pause`. `checkpoint`: seconds of work
    between two checkpoints, all that a failure can lose."""

    mean: float
    pause: float = 120.0
    checkpoint: float = 60.0


@dataclass
class SimulatedProcess:
    """A process: its queue, and the claim and the start of the job that it works on."""

    queue: ClaimedQueue
    claim: JobClaim | None = None
    begin: float = 0.0


@dataclass
class Outcome:
    """Result. `makespan`, `bound`, `longest`: seconds; `times_done`: job -> how often it was completed.

    `lost`: seconds of work that were repeated. `down`: seconds in which processes were gone. `failures`: how many.
    """

    makespan: float
    work: float
    lost: float
    down: float
    failures: int
    longest: float
    processes: int
    times_done: dict[str, int]
    reads: int

    @property
    def bound(self) -> float:
        """The shortest makespan with these failures: all time is work, or the longest job alone."""
        return max((self.work + self.lost + self.down) / self.processes, self.longest)


class Simulation:
    """Processes that take jobs of known lengths in seconds. `overhead`: seconds to start a job.

    `idle`: seconds until a process without a job looks again.
    """

    def __init__(
        self,
        lengths: list[float],
        processes: int,
        failures: Failures | None,
        overhead: float,
        seed: int,
        idle: float = RESCAN_SECONDS,
    ):
        self.generator, self.files, self.idle = random.Random(seed), SimulatedFiles(), idle
        self.overhead, self.failures = overhead, failures
        self.left = {f"job{number}": length + overhead for number, length in enumerate(lengths)}
        self.jobs, self.done = list(self.left), set[str]()
        self.times_done = dict.fromkeys(self.jobs, 0)
        self.outcome = Outcome(
            0.0, sum(self.left.values()), 0.0, 0.0, 0, max(self.left.values()), processes, self.times_done, 0
        )
        self.processes: dict[int, SimulatedProcess] = {}
        self.events: list[tuple[float, int, str, int]] = []
        self.count = 0
        for _ in range(processes):
            self.add(0.0, "join", self.number())

    def number(self) -> int:
        self.count += 1
        return self.count

    def add(self, after: float, kind: str, process: int) -> None:
        heapq.heappush(self.events, (self.files.now + after, self.number(), kind, process))

    def run(self) -> Outcome:
        """Simulate until every job is done."""
        while len(self.done) < len(self.jobs):
            self.files.now, _, kind, number = heapq.heappop(self.events)
            if kind == "join":
                self.join(number)
            elif process := self.processes.get(number):
                getattr(self, kind)(number, process)
        self.outcome.makespan, self.outcome.reads = self.files.now, self.files.reads
        return self.outcome

    def join(self, number: int) -> None:
        ahead = self.generator.uniform(-3600, 3600)

        def clock() -> float:
            return self.files.now + ahead

        identity = ProcessIdentity(str(number), f"host{number}", f"boot{number}", 1, "")
        claims = ClaimFolder(self.files, identity, clock)
        queue = ClaimedQueue(self.jobs, claims, self.done.__contains__, self.generator.random(), clock=clock)
        self.processes[number] = SimulatedProcess(queue)
        self.look(number, self.processes[number])
        if self.failures:
            self.add(self.generator.expovariate(1 / self.failures.mean), "vanish", number)

    def look(self, number: int, process: SimulatedProcess) -> None:
        process.claim, process.begin = process.queue.take(), self.files.now
        if process.claim:
            self.add(self.left[process.claim.job], "finish", number)
        else:
            self.add(self.idle, "look", number)

    def finish(self, number: int, process: SimulatedProcess) -> None:
        assert process.claim
        assert process.claim.is_current
        self.done.add(process.claim.job)
        self.times_done[process.claim.job] += 1
        process.claim.end("done")
        process.queue.mark_ended(process.claim.job)
        self.files.living.discard(f"{process.claim.job}.claim")
        self.look(number, process)

    def vanish(self, number: int, process: SimulatedProcess) -> None:
        assert self.failures
        if process.claim:
            worked = self.files.now - process.begin
            saved = worked // self.failures.checkpoint * self.failures.checkpoint
            self.left[process.claim.job] -= saved
            self.outcome.lost += worked - saved
            suffix = f"-{process.claim.number}" if process.claim.number else ""
            name = f"{process.claim.job}.claim{suffix}"
            self.files.living.discard(name)
            self.files.touch(name)
        del self.processes[number]
        self.outcome.failures += 1
        self.outcome.down += self.failures.pause
        self.add(self.failures.pause, "join", self.number())


def simulate(
    jobs: int,
    processes: int,
    mean: float,
    failures: Failures | None = None,
    overhead: float = 0.0,
    seed: int = 0,
    idle: float = RESCAN_SECONDS,
) -> Outcome:
    """Simulate jobs whose lengths are lognormal with this mean in seconds and a standard deviation of half of it."""
    generator = random.Random(seed)
    lengths = [generator.lognormvariate(-0.1116, 0.4724) * mean for _ in range(jobs)]  # sigma^2 = log(1.25)
    return Simulation(lengths, processes, failures, overhead, seed + 1, idle).run()
