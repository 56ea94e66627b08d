"""Calls in processes of this machine, whose server, terminal and parent may end before them."""

import dataclasses
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path

import pytest

from equipoise.jobs.backend import INTERRUPTED, Call
from equipoise.jobs.local import LocalBackend, LocalProcess

MODULE = """\
import os, time

def work(started, interrupted):
    started.write_text(str(os.getpid()))
    while not started.with_name("end").exists():
        if interrupted():
            return False
        time.sleep(0.01)
    return True

def fail(started, interrupted):
    raise ValueError("broken")
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LocalProcess]:
    """Start a call that works until there is a file "end", or until it is interrupted; or one that fails."""
    (tmp_path / "local_calls.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    module, started = importlib.import_module("local_calls"), tmp_path / "started"

    def start(function: str = "work") -> LocalProcess:
        call = Call("job", getattr(module, function), (started,), tmp_path / "output.log")
        process = LocalBackend(1).start(call)
        while function == "work" and not (started.exists() and started.read_text()):
            assert process.exit_code is None, call.output.read_text()
            time.sleep(0.01)
        return process

    return start


def test_a_call_ends_with_its_code_and_cpu_seconds(tmp_path: Path, start) -> None:
    process = start()
    assert process.exit_code is None
    (tmp_path / "end").touch()
    assert process.join() > 0
    assert process.exit_code == 0
    broken = start("fail")
    assert broken.join() > 0
    assert broken.exit_code == 1
    assert "ValueError: broken" in (tmp_path / "output.log").read_text()


def test_a_killed_call_ends_with_the_signal(tmp_path: Path, start) -> None:
    process = start()
    os.kill(int((tmp_path / "started").read_text()), signal.SIGKILL)
    assert process.join() == 0
    assert process.exit_code == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_call_saves_before_a_closed_terminal_ends_it(tmp_path: Path, start, number: int) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("these tests were started with nohup, under which calls ignore a closed terminal, too")
    process = start()
    os.kill(int((tmp_path / "started").read_text()), number)
    process.join()
    assert process.exit_code == INTERRUPTED


def test_a_call_goes_on_when_the_server_of_processes_is_killed(tmp_path: Path, start) -> None:
    """As by the operating system, where memory runs out; the next call gets a new server."""
    process = start()
    server = forkserver._forkserver._forkserver_pid
    os.kill(server, signal.SIGKILL)
    while process.process.exitcode is None:
        time.sleep(0.01)
    assert process.exit_code is None
    process.terminate()
    assert process.join() > 0
    assert process.exit_code == INTERRUPTED
    (tmp_path / "end").touch()
    other = start()
    other.join()
    assert other.exit_code == 0


CTRL_C = """\
import os, signal, sys, threading, time
from pathlib import Path
from local_calls import work
from equipoise.jobs.backend import Call
from equipoise.jobs.local import LocalBackend

if __name__ == "__main__":
    stops = []
    signal.signal(signal.SIGINT, lambda number, frame: stops.append(number))
    signal.signal(signal.SIGTERM, lambda number, frame: stops.append(number))
    threading.Timer(0.3, lambda: os.killpg(0, int(sys.argv[1]))).start()
    folder = Path(sys.argv[2])
    process = LocalBackend(1, ("slow_module",)).start(Call("job", work, (folder / "started",), folder / "output.log"))
    assert stops, "the signal did not come while the server started"
    process.terminate()
    process.join()
    print(process.exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_does_not_end_the_server_while_it_starts(tmp_path: Path, number: int) -> None:
    """Ctrl-C, and SIGTERM to the group: as to every other call, the answer is to save and end."""
    (tmp_path / "local_calls.py").write_text(MODULE)
    (tmp_path / "slow_module.py").write_text("import time\ntime.sleep(1.5)\n")
    (tmp_path / "script.py").write_text(CTRL_C)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, str(tmp_path / "script.py"), str(int(number)), str(tmp_path)]
    ended = subprocess.run(
        command, env=environment, start_new_session=True, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{INTERRUPTED}\n"


def test_a_pipe_that_another_process_has_inherited_keeps_no_call_running(tmp_path: Path, start) -> None:
    process = start()

    class Inherited:
        def poll(self, seconds: float = 0.0) -> bool:
            return False

    os.kill(int((tmp_path / "started").read_text()), signal.SIGKILL)
    waiting = dataclasses.replace(process, end=Inherited())  # type: ignore[arg-type]
    assert waiting.join() == 0
    assert waiting.exit_code == -signal.SIGKILL
