"""Calls on a Ray cluster, or on Ray's processes of this machine: the optional extra `ray`.

Only Ray Core is used: it places calls, counts CPUs and shares of GPUs, and repeats a call whose process or machine has
died. Arguments and results are files on a shared drive. Shares of GPUs are bookkeeping, so the memory of each process
is limited to its share here. A call runs in the process of its task, because children of a killed one would survive.
"""

import contextlib
import importlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from equipoise.errors import MissingPackageError, RunError, SettingError
from equipoise.jobs.backend import POLL_SECONDS, Call, RunningCall, execute_call

RETRIES = 3
"""How often a call is repeated after its process or machine has died."""
STOP_SECONDS = 1.0
"""How often a call looks for a request to stop."""
CONNECT_SECONDS = 10.0
"""How long a cluster is tried; Ray itself tries for many minutes."""
REASON_LENGTH = 300
"""Most characters of Ray's own reason in a message."""
OBJECT_STORE_BYTES = 100_000_000
"""Shared memory of an instance on this machine; calls have small arguments and no results."""
T = TypeVar("T")


@dataclass(eq=False)
class RayTask:
    """A call that was submitted. `reference`: of its result, exit code and CPU seconds."""

    ray: ModuleType
    reference: object
    call: Call

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while the task waits or runs, 1 if Ray has given it up."""
        ready, _ = self.ray.wait([self.reference], timeout=0)
        return self._result[0] if ready else None

    def terminate(self) -> None:
        """Ask the call to save and end, through a file: Ray has no signal for that."""
        with contextlib.suppress(OSError):
            stop_file(self.call).touch()

    def kill(self) -> None:
        """End the call without saving."""
        with contextlib.suppress(Exception):  # Ray raises many kinds
            self.ray.cancel(self.reference, force=True)

    def join(self) -> float:
        """Wait until the call has ended; return its CPU seconds, 0 if they are unknown."""
        return self._result[1]

    @cached_property
    def _result(self) -> tuple[int, float]:
        try:
            code, cpu = self.ray.get(self.reference)
        except self.ray.exceptions.RayTaskError as error:  # raised outside the call, so not repeated
            return self._fail(str(error).strip().splitlines()[-1])
        except self.ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[:REASON_LENGTH]
            return self._fail(f"Ray has given up this job after {RETRIES} retries: {type(error).__name__}: {reason}")
        return int(code), float(cpu)

    def _fail(self, reason: str) -> tuple[int, float]:
        """Write a reason to the output of the call, whose last line is shown; return the result of a failed call."""
        with contextlib.suppress(OSError), self.call.output.open("a") as file:
            file.write(f"{reason}\n")
        return 1, 0.0


@dataclass(frozen=True, eq=False)
class RayBackend:
    """A connection to Ray. `slots`: calls at once. `gpus`: share of a GPU that each call gets, or a whole number."""

    ray: ModuleType
    slots: int
    gpus: float = 0.0

    @property
    def is_remote(self) -> bool:
        """True: Ray repeats the calls of a machine that it does not reach."""
        return True

    def start(self, call: Call) -> RayTask:
        """Submit a call."""
        call.output.parent.mkdir(parents=True, exist_ok=True)
        call.output.write_bytes(b"")
        stop_file(call).unlink(missing_ok=True)
        return RayTask(self.ray, self._remote.remote(call, self.gpus, os.getcwd()), call)

    def wait(self, running: Iterable[RunningCall]) -> None:
        """Wait until one of the calls has ended, at most POLL_SECONDS."""
        references = [one.reference for one in running if isinstance(one, RayTask)]
        if references:
            self.ray.wait(references, num_returns=1, timeout=POLL_SECONDS)
        else:
            time.sleep(POLL_SECONDS)

    def call_on_nodes(self, function: Callable[..., T], *arguments: object) -> dict[str, T]:
        """Call a function on every living node; return host -> its result. Raises RunError for a node without it."""
        strategies = importlib.import_module(f"{self.ray.__name__}.util.scheduling_strategies")
        result = {}
        for node in (node for node in self.ray.nodes() if node["Alive"]):
            host = str(node["NodeManagerHostname"])
            affinity = strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            remote = self.ray.remote(num_cpus=0, scheduling_strategy=affinity)(function)
            try:
                result[host] = self.ray.get(remote.remote(*arguments))
            except self.ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[-1]
                raise RunError(
                    f"the node {host} of the Ray cluster cannot run this package: {reason}; install equipoise there"
                ) from error
        return result

    def close(self) -> None:
        """Disconnect, and end an instance that was started here."""
        self.ray.shutdown()

    @cached_property
    def _remote(self) -> "_RemoteFunction":
        options = {"num_cpus": 1, "num_gpus": self.gpus, "max_retries": RETRIES}
        remote: _RemoteFunction = self.ray.remote(**options)(_execute_remotely)
        return remote


class _RemoteFunction:
    """What `ray.remote` returns, as far as it is used."""

    def remote(self, *arguments: object) -> object:
        """Submit a call; return a reference of its result."""
        raise NotImplementedError


def connect_ray(address: str | None, slots: int | None, gpus: float = 0.0) -> RayBackend:
    """Connect to a Ray cluster, or start Ray on this machine if there is no address, and RAY_ADDRESS is not set.

    `slots`: calls at once; None: as many as the cluster has CPUs, or shares of GPUs. Raises MissingPackageError without
    the package, RunError if the cluster cannot be reached, SettingError for more GPUs than there are.
    """
    if find_spec("ray") is None:
        raise MissingPackageError("--on ray needs the package ray; install it with: pip install 'equipoise[ray]'")
    if not gpus >= 0 or (gpus > 1 and gpus != int(gpus)):
        raise SettingError(f"--gpus-per-run {gpus:g}: it must be a share from 0 to 1, or a whole number")
    ray = importlib.import_module("ray")
    address = address or os.environ.get("RAY_ADDRESS")
    options: dict[str, object] = {"log_to_driver": False, "ignore_reinit_error": True}
    if address:
        options["address"] = address
    else:
        cores = slots or os.cpu_count() or 1
        options |= {"address": "local", "include_dashboard": False, "num_cpus": cores}
        options["object_store_memory"] = OBJECT_STORE_BYTES
    place = f"the Ray cluster at {address}" if address else "Ray on this machine"
    try:
        if address:
            _check_reachable(address)
        ray.init(**options)
    except Exception as error:  # Ray raises many kinds, also Exception itself
        reason = " ".join(str(error).split())[:REASON_LENGTH]
        remedy = "start it with: ray start --head; or use --on ray alone, which starts one on this machine"
        remedy = remedy if address else "see the logs in /tmp/ray/session_latest/logs, or omit --on ray"
        raise RunError(f"{place} cannot be reached: {reason}; {remedy}") from error
    resources = ray.cluster_resources()
    available = float(resources.get("GPU", 0.0))
    if gpus > available:
        ray.shutdown()
        raise SettingError(f"--gpus-per-run {gpus:g}, but the Ray cluster has {available:g} GPUs; omit it or add nodes")
    most = int(available / gpus + 1e-9) if gpus else int(resources.get("CPU", 1))
    return RayBackend(ray, slots or max(1, most), gpus)


def _check_reachable(address: str) -> None:
    """Raise OSError if nobody listens at HOST:PORT, which may begin with ray://; other addresses are not checked."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def stop_file(call: Call) -> Path:
    """Return the path of the file that asks a call to stop."""
    return call.output.with_suffix(".stop")


def _execute_remotely(call: Call, gpus: float, directory: str) -> tuple[int, float]:
    """Execute a call in a process of Ray; return its exit code and CPU seconds. `directory`: of the program."""
    begin, next_look, path = time.process_time(), 0.0, stop_file(call)
    if os.path.isdir(directory):  # for paths and modules of the user
        os.chdir(directory)
        sys.path[:0] = [] if directory in sys.path else [directory]
    _limit_memory(gpus)

    def interrupted() -> bool:
        nonlocal next_look
        if time.monotonic() < next_look:
            return False
        next_look = time.monotonic() + STOP_SECONDS
        return path.exists()

    with call.output.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        try:
            code = execute_call(call, interrupted)
        except Exception:  # its last line is the reason that is shown
            traceback.print_exc()
            code = 1
    return code, time.process_time() - begin


def _limit_memory(gpus: float) -> None:
    """Let this process use its share of the memory of a GPU alone, so that others on it do not run out of theirs."""
    if 0 < gpus < 1:
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(gpus)
