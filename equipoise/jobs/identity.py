"""Who a process is: enough to know, on the same machine, whether it still runs."""

import dataclasses
import os
import platform
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process. `token`: unique. `machine`: differs between machines, on Linux also between boots and containers.

    `started`: its start time as the kernel reports it, because PIDs are reused; "" if unknown, as on systems other than
    Linux.
    """

    token: str
    host: str
    machine: str
    pid: int
    started: str

    def to_json(self) -> dict[str, object]:
        """Return the identity as JSON values."""
        return dataclasses.asdict(self)

    @property
    def is_here(self) -> bool:
        """Whether the process is, or was, on this machine since its last start."""
        return self.machine == _machine()

    @property
    def is_certain(self) -> bool:
        """Whether `has_ended` is reliable: on systems other than Linux, another process may have the same PID."""
        return self.is_here and self.started != ""

    @property
    def has_ended(self) -> bool:
        """Whether the process is known to have ended; False for one of another machine.

        False on Windows, too, where signal 0 is Ctrl-C.
        """
        if not self.is_here or os.name == "nt":
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return _start_time(self.pid) != self.started  # of another process, or "" of one that nobody has waited for

    def __str__(self) -> str:
        return f"{self.host} (process {self.pid})"


def this_process() -> ProcessIdentity:
    """Return the identity of this process, with a new token."""
    pid = os.getpid()
    return ProcessIdentity(uuid.uuid4().hex[:16], socket.gethostname(), _machine(), pid, _start_time(pid))


def identity_from_json(values: Mapping[str, object]) -> ProcessIdentity:
    """Return the identity that `to_json` returned. Raises KeyError or TypeError for anything else."""
    return ProcessIdentity(
        str(values["token"]),
        str(values["host"]),
        str(values["machine"]),
        int(str(values["pid"])),
        str(values["started"]),
    )


@cache
def _machine() -> str:
    """Return an identifier that is unique to this machine, boot and container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return f"{platform.node()} {uuid.getnode():x}"


def _start_time(pid: int) -> str:
    """Return when a process started, as the kernel reports it; "" if that is unknown, or it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = status.rpartition(")")[2].split()  # from field 3 of proc(5) on; the name before may contain anything
    return "" if fields[0] in "ZX" else fields[19]
