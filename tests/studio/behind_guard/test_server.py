"""The server as a process: its address, its errors, and its end."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from equipoise.cli import main as cli

ERROR = 2


class Process:
    """A studio in a process of its own; `address`: as it printed it, with the token."""

    def __init__(self, root: Path, *words: str) -> None:
        command = [sys.executable, "-m", "equipoise", "studio", str(root), "--port", "0", "--no-browser", *words]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            env={**os.environ, "DISPLAY": ""},
        )
        self.connections: list[http.client.HTTPConnection | http.client.HTTPResponse] = []
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip().rpartition(" ")[2]
        self.host = urlsplit(self.address).netloc

    def open(self, target: str, cookie: str = "") -> http.client.HTTPResponse:
        """Return an answer whose connection stays open until the end."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        self.connections.append(connection)
        connection.request("GET", target, headers={"Cookie": cookie} if cookie else {})
        response = connection.getresponse()
        self.connections.append(response)
        return response

    def get(self, target: str, cookie: str = "") -> int:
        """Return the status of an answer."""
        with contextlib.closing(self.open(target, cookie)) as response:
            response.read()
            return response.status

    def cookie(self) -> str:
        target = "/?" + urlsplit(self.address).query
        with contextlib.closing(self.open(target)) as response:
            return (response.getheader("set-cookie") or "").partition(";")[0]

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return the exit code, and what was printed on standard error."""
        os.kill(self.process.pid, number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@pytest.fixture
def process(root: Path) -> Iterator[Process]:
    process = Process(root)
    yield process
    process.close()


def test_ctrl_c_ends_the_studio_with_pages_open(process: Process) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", process.address)
    cookie = process.cookie()
    assert process.get("/api/runs", cookie) == 200
    streams = [process.open("/api/stream", cookie) for _ in range(3)]
    for stream in streams:
        assert stream.getheader("content-type", "").startswith("text/event-stream")
        assert stream.readline() == b"retry: 1000\n"
    code, errors = process.stop()
    assert (code, errors) == (0, "")


def test_sigterm_ends_it_too(process: Process) -> None:
    code, errors = process.stop(signal.SIGTERM)
    assert (code, errors) == (-signal.SIGTERM, "")


def test_a_killed_studio_leaves_the_run_as_it_was(process: Process, root: Path, snapshot) -> None:
    before = snapshot(root)
    cookie = process.cookie()
    for target in (
        "/api/runs",
        "/api/runs/ring",
        "/api/runs/ring/series?names=loss_g",
        "/api/runs/ring/samples/20.png",
    ):
        assert process.get(target, cookie) == 200
    process.stop(signal.SIGKILL)
    assert snapshot(root) == before


def test_a_run_ends_with_the_same_weights_if_the_studio_is_killed_meanwhile(
    process: Process, root: Path, trained: Path, tiny: list[str]
) -> None:
    from equipoise.cli.arguments import parse
    from equipoise.cli.commands.train import experiment_of
    from equipoise.experiment import launch
    from equipoise.experiment.completion import complete

    cookie = process.cookie()
    events = launch.start(complete(experiment_of(parse(cli.parser("train"), tiny))), root / "run")
    for number, _ in enumerate(events):
        if number == 4:
            assert process.get("/api/runs/run", cookie) == 200
            assert process.get("/api/runs/run/series?names=loss_g", cookie) == 200
            process.stop(signal.SIGKILL)
    for name in ("generator.safetensors", "discriminator.safetensors", "data.json", "knobs.json"):
        assert (root / "run" / name).read_bytes() == (trained / name).read_bytes()
    assert {path.name for path in (root / "run").iterdir()} == {path.name for path in trained.iterdir()}


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Return the one line of an error of the command."""
    assert cli.run(["studio", *map(str, words)]) == ERROR
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    return errors


def test_a_port_in_use(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        line = fails(capsys, root, "--port", port)
    assert f"port {port} is in use" in line
    assert "--port 0" in line


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--port", "70000"), ("'70000' is not a port", "0 to 65535")),
        (("--port", "x"), ("'x' is not a port",)),
        (("--token", "short"), ("--token has 5 characters", "16")),
        (("--host", "0.0.0.0"), ("--host 0.0.0.0 lets other computers", "--token", "ssh -L 8765:127.0.0.1:8765")),
        (("--host", "0.0.0.0", "--token", "short"), ("--token has 5 characters",)),
        (("--host", "192.0.2.1", "--token", "x" * 16), ("cannot listen at 192.0.2.1", "leave out --host")),
        (("--hots", "x"), ("did you mean '--host'",)),
    ],
)
def test_options_that_are_wrong(
    words: tuple[str, ...], parts: tuple[str, ...], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails(capsys, root, *words)
    assert all(part in line for part in parts), line


def test_no_folder(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no folder" in fails(capsys, root / "none")
    assert "is a file; give a folder of runs" in fails(capsys, root / "ring" / "events.jsonl")


def test_without_the_extra(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("equipoise.studio", "starlette", "uvicorn"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("starlette", "uvicorn"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "pip install 'equipoise[studio]'" in fails(capsys, root)


def test_another_address_warns(root: Path) -> None:
    process = Process(root, "--host", "0.0.0.0", "--token", "x" * 16)
    _, errors = process.stop()
    process.close()
    assert errors.startswith("warning: anyone who knows the address")
    assert errors.count("\n") == 1
    assert process.host.startswith("127.0.0.1:")


def test_no_slow_package_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, equipoise.studio.server; "
        "print([name for name in ('torch', 'matplotlib', 'rich', 'PIL.ImageFont') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" not in result.stdout
    assert "matplotlib" not in result.stdout
