"""Processes of one run that end before they have joined it, and errors in one of them: one line, within seconds."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import distributed
from torch.distributed import FileStore, PrefixStore

from equipoise.cli.commands import _ranks
from equipoise.core.world import World
from equipoise.errors import FailedProcessError, LostProcessError, RunError, SettingError
from equipoise.experiment import connection as connections
from equipoise.experiment import launch, rendezvous
from equipoise.experiment.connection import ENDED, PROBLEM, Connection, ReportedLossError
from equipoise.experiment.processes import RENDEZVOUS

TIMEOUT = 120.0
ARGUMENTS = (
    *("train", "--model", "dcgan", "--option", "width=4", "latent_dim=6", "--image-size", "16", "--metric", "none"),
    *("--steps", "40", "--batch-size", "8", "--precision", "fp32", "--threads", "1", "--no-film", "--devices", "2"),
)
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], list["subprocess.Popen[bytes]"]]]:
    """Return a function: from now on the other processes of a run execute this program; returns the list of them."""
    started: list[subprocess.Popen[bytes]] = []

    def execute(program: str) -> list["subprocess.Popen[bytes]"]:
        def start(rank: int, size: int, file: str) -> "subprocess.Popen[bytes]":
            started.append(subprocess.Popen([sys.executable, "-c", program]))
            return started[-1]

        monkeypatch.setattr(rendezvous, "_start", start)
        monkeypatch.setattr(rendezvous, "END_TIMEOUT", 0.2)
        return started

    yield execute
    for child in started:
        child.kill()
        child.wait()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, also in other processes; empty."""
    (folder := tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize(("code", "how"), [(3, "process 1 of 2 ended with exit code 3"), (0, "another of the 2")])
def test_a_process_that_ends_before_it_has_joined_ends_the_run(
    code: int, how: str, children, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REPORT_TIMEOUT", 1.0)
    children(f"raise SystemExit({code})")
    begin = time.monotonic()
    with pytest.raises(RunError, match=how), rendezvous.connect(2):
        pytest.fail("connected")
    assert time.monotonic() - begin < 10
    assert not list(temporary.glob("equipoise-*"))


def test_ctrl_c_ends_the_wait_for_processes_that_have_not_joined(children, temporary: Path) -> None:
    started = children(SLEEP)
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    begin = time.monotonic()
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), rendezvous.connect(2):
            pytest.fail("connected")
    finally:
        signal.signal(signal.SIGINT, previous)
    assert time.monotonic() - begin < 10
    assert [child.poll() for child in started] == [-signal.SIGKILL]
    assert not list(temporary.glob("equipoise-*"))


def test_processes_that_do_not_start_in_time_are_named(children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "TIMEOUT", rendezvous.TIMEOUT / 10**4)
    children(SLEEP)
    with pytest.raises(RunError, match=r"process 1, 2 of 3 has not started within"), rendezvous.connect(3):
        pytest.fail("connected")


def follower(start_process, folder: Path, monkeypatch: pytest.MonkeyPatch, **places: object) -> Path:
    """Start process 1 of 2, which waits for process 0; return it and the file through which both find each other."""
    store = folder / "store"
    values = {"RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, RENDEZVOUS: store, **places}
    with monkeypatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, str(value))
        return start_process("train"), store


def test_a_process_that_waits_for_process_0_is_silent_when_it_is_stopped(
    start_process, wait_until, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun stops it where process 0 has printed an error of the user."""
    process, store = follower(start_process, tmp_path, monkeypatch)
    wait_until(lambda: store.exists() and b"joined/1" in store.read_bytes(), process)
    process.terminate()
    assert process.communicate(timeout=TIMEOUT) == ("", "")
    assert process.returncode == 130


def test_a_process_whose_process_0_was_killed_while_it_started_ends_and_cleans_up(
    start_process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := tmp_path / "equipoise-1").mkdir()
    process, _ = follower(start_process, folder, monkeypatch, **{rendezvous.PARENT: 2**22 + 1})  # no process
    output, errors = process.communicate(timeout=TIMEOUT)
    assert (output, errors, process.returncode) == ("", "equipoise: process 0 of 2 has ended\n", 2)
    assert not folder.exists()
    process, _ = follower(start_process, folder, monkeypatch, **{rendezvous.PARENT: 2**22 + 1})
    assert process.communicate(timeout=TIMEOUT) == ("", ""), "another one has reported"


def test_a_process_0_that_was_killed_after_it_had_joined_ends_the_others_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch would wait for it."""
    places = {"RANK": 1, "WORLD_SIZE": 2, RENDEZVOUS: tmp_path / "store", rendezvous.PARENT: 2**22 + 1}
    for name, value in places.items():
        monkeypatch.setenv(name, str(value))
    store = PrefixStore("equipoise", FileStore(str(tmp_path / "store"), 2))
    store.set(f"{rendezvous.JOINED}/0", "1")
    begin = time.monotonic()
    with pytest.raises(LostProcessError, match="process 0 of 2 has ended"), rendezvous.connect(2):
        pytest.fail("connected")
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_while_torch_connects_ends_the_others(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Torch waits where Python cannot end it: the thread that watches does."""
    codes: list[int] = []
    has_ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: (codes.append(code), has_ended.set()))
    monkeypatch.setattr(rendezvous, "GRACE", 0.1)
    monkeypatch.setattr(rendezvous, "_meet", lambda connection: None)
    monkeypatch.setattr(distributed, "init_process_group", lambda *args, **kwargs: has_ended.wait(10))
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: None)
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    child.wait()
    lost = {"children": [child]} if rank == 0 else {"parent": -1}
    with rendezvous._group(Connection(World(rank, 2), Texts(), **lost)):
        assert codes == [2]
    assert capsys.readouterr().err.startswith(f"equipoise: process {1 - rank} of 2")


@pytest.mark.skipif(sys.platform != "linux", reason="finds child processes in /proc")
def test_processes_that_are_killed_while_they_start(
    start_process, wait_until, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First process 1, by the import of a module; then process 0."""
    (site := tmp_path / "site").mkdir()
    (site / "sitecustomize.py").write_text("import os\nif os.environ.get('RANK') == '1':\n    os._exit(3)\n")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        process = start_process(*ARGUMENTS, "digits", "--out", tmp_path / "run")
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 2
    assert [line for line in errors.splitlines() if line.startswith("equipoise: ")] == [
        "equipoise: process 1 of 2 ended with exit code 3"
    ]
    assert not list(temporary.glob("equipoise-*"))
    assert not (tmp_path / "run").exists()

    process = start_process(*ARGUMENTS, "digits", "--out", tmp_path / "run")
    wait_until(lambda: has_started_another(process.pid), process)
    process.kill()
    _, errors = process.communicate(timeout=TIMEOUT)  # ends when the other process has closed its output, too
    assert errors.endswith("equipoise: process 0 of 2 has ended\n")
    assert not list(temporary.glob("equipoise-*"))


def has_started_another(pid: int) -> bool:
    """Whether a process has started rank 1 of its run."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):  # another child, which has ended in the meantime
            if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
                return True
    return False


class Texts:
    """A store in memory."""

    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}

    def check(self, keys: list[str]) -> bool:
        return all(key in self.texts for key in keys)

    def get(self, key: str) -> bytes:
        return self.texts[key]

    def set(self, key: str, text: str) -> None:
        self.texts[key] = text.encode()

    def add(self, key: str, count: int) -> int:
        self.set(key, str(int(self.texts.get(key, b"0")) + count))
        return int(self.texts[key])


def test_process_0_lets_the_others_know_before_it_waits_for_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise one of them would report that process 0 has ended."""
    store, announced = Texts(), []
    monkeypatch.setattr(rendezvous, "_open", partial(opened, Connection(World(0, 3), store)))
    monkeypatch.setattr(rendezvous, "_group", partial(opened, None))
    monkeypatch.setattr(
        Connection, "loss_error", lambda self: announced.append(store.check([ENDED])) or RunError("process 2 has ended")
    )
    with pytest.raises(RunError, match="process 2"), rendezvous.connect(3):
        raise LostProcessError("another process")
    assert announced == [True]


def test_a_process_that_does_not_report_a_loss_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Texts()
    store.set(ENDED, "1")
    monkeypatch.setattr(rendezvous, "_open", partial(opened, Connection(World(1, 3), store)))
    monkeypatch.setattr(rendezvous, "_group", partial(opened, None))
    with pytest.raises(ReportedLossError), rendezvous.connect(3):
        raise LostProcessError("another process")


@contextmanager
def opened(value: object, *args: object) -> Iterator[object]:
    yield value


OWN_CODE = """
def fail(*args):
    raise KeyError("x")
"""


@pytest.mark.parametrize(
    ("kind", "message", "code"),
    [
        ("own", "own.py, line 3: KeyError: 'x'; correct it, then run the command again", 2),
        ("defect", "unexpected error: TypeError: ord() takes exactly one argument (3 given); this is a defect of", 1),
        ("setting", "process 1 of 2: lr = 0 must be positive", 2),
    ],
)
def test_an_error_of_another_process_is_described_as_one_of_process_0(
    kind: str, message: str, code: int, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Texts()
    source = tmp_path / "own.py"
    source.write_text(OWN_CODE)
    names: dict[str, Callable[..., None]] = {}
    exec(compile(OWN_CODE, str(source), "exec"), names)
    errors = {"own": names["fail"], "defect": ord, "setting": refuse}
    monkeypatch.setattr(launch, "connect", partial(opened, Connection(World(1, 2), store)))
    monkeypatch.setattr(launch.SharedRun, "receive", lambda world: SimpleNamespace(folder=tmp_path))
    monkeypatch.setattr(launch, "assemble_together", errors[kind])
    launch.join(lambda: False, lambda: None, partial(_ranks.describe, command="train"))
    assert store.check([PROBLEM])
    described = Connection(World(0, 2), store, folder=tmp_path).loss_error()
    assert isinstance(described, FailedProcessError)
    assert str(described).startswith("process 1 of 2: ")
    assert message in str(described)
    assert "resume" not in str(described)
    assert described.exit_code == code
    assert len([*temporary.glob("equipoise-traceback-*")]) == (code == 1)


def refuse(*args: object) -> None:
    raise SettingError("lr = 0 must be positive")


DATA = """
import os
from dataclasses import dataclass
import torch
from equipoise import Batch, DataSpec
from equipoise.core.data import NoPreparation, Suggestion

__all__ = ["Noise"]


@dataclass(frozen=True)
class Noise(NoPreparation):
    spec = DataSpec((1, 16, 16))
    suggestion = Suggestion(model="dcgan", steps=50, batch_size=8)

    def count(self, split):
        return 64

    def stream(self, split, batch_size, seed):
        return Stream(batch_size)


@dataclass(frozen=True)
class Stream:
    batch_size: int

    def batch(self, index):
        if index >= 20 and os.environ.get("RANK") == "1":
            raise ValueError("bad value in data")
        return Batch(torch.zeros(self.batch_size, 1, 16, 16))
"""


def test_an_error_in_the_users_data_set_in_process_1_names_its_file_and_line(
    start_process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_data.py").write_text(DATA)
    monkeypatch.setenv("EQUIPOISE_TRACEBACK", "1")
    words = [word for word in ARGUMENTS if word not in ("--image-size", "16")]
    process = start_process(*words, tmp_path / "my_data.py", "--out", tmp_path / "run")
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 2, errors
    line = DATA[: DATA.index("raise ValueError")].count("\n") + 1
    assert errors.splitlines()[-1] == (
        f"equipoise: process 1 of 2: {tmp_path / 'my_data.py'}, line {line}: ValueError: bad value in data; correct "
        "it, then run the command again"
    )
    assert "Traceback" in errors
    assert errors.count("equipoise: ") == 1


@pytest.mark.parametrize("code", [1, 2])
def test_the_command_ends_with_the_exit_code_of_the_error(code: int, call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise FailedProcessError("process 1 of 2: a problem", code)

    monkeypatch.setattr("equipoise.cli.commands.list_.run", fail)
    assert call("list") == (code, "", "equipoise: process 1 of 2: a problem\n")
