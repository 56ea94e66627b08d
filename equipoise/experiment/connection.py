"""What a process of a run knows about the others: who has ended, and which process reports it."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.core.printing import printable
from equipoise.core.world import World
from equipoise.errors import FailedProcessError, LostProcessError, RunError, resume_command
from equipoise.experiment.processes import RENDEZVOUS

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

REPORT_TIMEOUT = 10.0
"""Seconds to wait for the error report of another process that has ended."""
ENDED, PROBLEM, REPORTED = "equipoise/ended", "equipoise/problem", "equipoise/reported"
"""Keys of the store: that rank 0 ends, and reports why if that is an error; why another process failed; how many have
reported the end of rank 0."""


class ReportedLossError(LostProcessError):
    """Another process has ended, and this one is silent, because rank 0 or another one reports it."""


@dataclass(slots=True)
class Connection:
    """The connection of this process to the others. `store`: texts that all can read; None without others.

    `folder`: of the run, for messages. `parent`: the process that started this one for the run; None if the user did.
    `rendezvous_folder`: temporary folder through which the processes of `--devices` find each other; None for others.
    """

    world: World
    store: "Store | None" = None
    children: Sequence["subprocess.Popen[bytes]"] = ()
    folder: Path | None = None
    parent: int | None = None
    rendezvous_folder: Path | None = None

    def report(self, message: str, exit_code: int) -> None:
        """Leave for rank 0 why this process ends, and the exit code of the command."""
        if self.store is not None and not self.has_lost_parent:
            text = f"process {self.world.rank} of {self.world.size}: {message}"
            with suppress(RuntimeError):
                self.store.set(PROBLEM, json.dumps({"message": text, "exit_code": exit_code}))

    def announce_end(self) -> None:
        """Let the others know that rank 0 ends, and reports why if that is an error."""
        with suppress(RuntimeError):
            if self.store is not None:
                self.store.set(ENDED, "1")

    def loss_error(self) -> RunError:
        """Return the error to raise because another process has ended; rank 0 waits for the report of that one.

        FailedProcessError with the report; otherwise how the process ended, and the command that resumes the run.
        """
        size, folder = self.world.size, self.folder
        cause = f"process 0 of {size} has ended" if self.world.rank else self._cause()
        if isinstance(cause, FailedProcessError):
            return cause
        has_checkpoint = folder is not None and (folder / "checkpoints").is_dir()
        remedy = f"; resume with: {resume_command(folder)}" if folder is not None and has_checkpoint else ""
        return LostProcessError(f"{cause}{remedy}")

    def _cause(self) -> str | FailedProcessError:
        """Return what is known about a process that has ended: its report, or a few words."""
        deadline = time.monotonic() + REPORT_TIMEOUT
        while self.store is not None and time.monotonic() < deadline:
            with suppress(RuntimeError):
                if self.store.check([PROBLEM]):
                    return FailedProcessError(**json.loads(self.store.get(PROBLEM)))
            for rank, child in enumerate(self.children, 1):
                if code := child.poll():
                    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
                    return f"process {rank} of {self.world.size} {how}"
            time.sleep(0.1)
        return f"another of the {self.world.size} processes of this run has ended"

    def has_to_report(self) -> bool:
        """Whether this process has to report the end of rank 0: rank 0 does not, and no other process has done so.

        Waits for rank 0 to announce its end. While rank 0 is this process's parent, it is alive and reports its own
        errors, even if a full disk prevents the announcement.
        """
        deadline = time.monotonic() + REPORT_TIMEOUT
        with suppress(RuntimeError):
            while self.store is not None and time.monotonic() < deadline and not self.has_lost_parent:
                if self.store.check([ENDED]):
                    return False
                time.sleep(0.1)
            if RENDEZVOUS in os.environ and not self.has_lost_parent:
                return False
            if self.rendezvous_folder is not None and not self.rendezvous_folder.exists():
                return False  # the process that deleted it has reported
            if self.store is not None and self.store.check([ENDED]):
                return False  # a signal may have ended rank 0 while it waited for this process
            return self.store is not None and self.store.add(REPORTED, 1) == 1
        return True

    @property
    def has_lost_parent(self) -> bool:
        """Whether the process that started this one for the run has ended."""
        return self.parent is not None and os.getppid() != self.parent

    def has_lost(self) -> bool:
        """Whether another process is known to have ended, or to be about to, before the end of the run."""
        if self.has_lost_parent or any(child.poll() for child in self.children):
            return True
        with suppress(RuntimeError):
            return self.store is not None and self.store.check([ENDED if self.world.rank else PROBLEM])
        return False

    def remove_folder(self) -> None:
        """Delete the temporary folder of a rank 0 that was killed, or of this one."""
        if self.rendezvous_folder is not None and (self.world.rank == 0 or self.has_lost_parent):
            shutil.rmtree(self.rendezvous_folder, ignore_errors=True)


def watch(connection: Connection, has_left: threading.Event, grace: float | None = None) -> None:
    """End this process if another one has ended during an exchange that would otherwise hang.

    `has_left`: set after the last exchange. `grace`: seconds in which this process may end by itself; default:
    REPORT_TIMEOUT.
    """
    grace = REPORT_TIMEOUT if grace is None else grace
    while not has_left.wait(1.0):
        if connection.has_lost() and not has_left.wait(grace):
            code = 2
            if connection.world.rank == 0:
                connection.announce_end()
            if connection.world.rank == 0 or connection.has_to_report():
                error = connection.loss_error()
                code = error.exit_code if isinstance(error, FailedProcessError) else code
                print(f"equipoise: {printable(str(error))}", file=sys.stderr, flush=True)
            for child in connection.children:
                child.kill()
            connection.remove_folder()
            os._exit(code)
