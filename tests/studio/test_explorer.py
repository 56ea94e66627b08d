"""The explorer's process: the newest request wins, a killed process is started again, and it ends with the studio."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from equipoise.studio import explorer as explorer_module
from equipoise.studio.explorer import Explorer, ExplorerError, SupersededError
from equipoise.studio.frames import Frame, read_frame

FAKE = """
import os, sys, time
from pathlib import Path
from equipoise.studio.frames import Frame, read_frame

folder = Path(sys.argv[1])
gate = Path(os.environ["GATE"])
while (message := read_frame(sys.stdin.buffer)) is not None:
    name = message.values["name"]
    with (gate / "seen").open("a") as seen:
        seen.write(f"{name} {os.getpid()}\\n")
    if name == "dies" or (name == "dies once" and not (gate / "died").exists()):
        (gate / "died").touch()
        os._exit(3)
    while name == "slow" and not (gate / "open").exists():
        time.sleep(0.01)
    values = {"error": "no such thing"} if name == "wrong" else {"name": name}
    sys.stdout.buffer.write(Frame({**values, "id": message.values["id"]}, message.content).encode())
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Words that start a small process in the place of the explorer's; it writes the names of requests to `seen`."""
    monkeypatch.setenv("GATE", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "fake.py").write_text(FAKE)
    return (sys.executable, str(tmp_path / "fake.py"))


def seen(folder: Path) -> list[str]:
    path = folder / "seen"
    return [line.rpartition(" ")[0] for line in path.read_text().splitlines()] if path.exists() else []


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within 30 s")


def with_explorer(words: tuple[str, ...], scenario) -> None:
    """Run a scenario with an explorer, and close it."""

    async def run() -> None:
        explorer = Explorer(words=words)
        try:
            await scenario(explorer)
        finally:
            explorer.close()
            await asyncio.sleep(0.05)

    asyncio.run(run())


def test_the_newest_request_wins(fake: tuple[str, ...], tmp_path: Path) -> None:
    async def scenario(explorer: Explorer) -> None:
        slow = asyncio.create_task(explorer.request({"name": "slow"}, client="tab"))
        await until(lambda: seen(tmp_path) == ["slow"])
        tasks = [asyncio.create_task(explorer.request({"name": f"drag {n}"}, client="tab")) for n in range(5)]
        other = asyncio.create_task(explorer.request({"name": "other"}, client="other tab"))
        await asyncio.sleep(0.05)
        for task in tasks[:-1]:
            with pytest.raises(SupersededError):
                await task
        assert seen(tmp_path) == ["slow"], "one request at a time is under way"
        (tmp_path / "open").touch()
        assert (await slow).values["name"] == "slow"
        assert (await tasks[-1]).values["name"] == "drag 4"
        assert (await other).values["name"] == "other"
        assert seen(tmp_path) == ["slow", "drag 4", "other"], "what was replaced was never passed on"

    with_explorer(fake, scenario)


def test_a_killed_process_is_started_again(fake: tuple[str, ...], tmp_path: Path) -> None:
    async def scenario(explorer: Explorer) -> None:
        assert (await explorer.request({"name": "a"}, b"content")).content == b"content"
        first = explorer.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: explorer.pid is None)
        assert (await explorer.request({"name": "b"})).values["name"] == "b"
        assert explorer.pid not in (None, first)
        assert (await explorer.request({"name": "dies once"})).values["name"] == "dies once", "it is requested again"
        with pytest.raises(ExplorerError, match=r"ended twice with this request \(exit code 3\)"):
            await explorer.request({"name": "dies"})
        assert (await explorer.request({"name": "c"})).values["name"] == "c"
        with pytest.raises(ExplorerError, match="no such thing"):
            await explorer.request({"name": "wrong"})

    with_explorer(fake, scenario)
    assert not list(tmp_path.glob("equipoise-explorer-*")), "no temporary folder remains"


def test_it_gives_up_what_takes_too_long(
    fake: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(explorer: Explorer) -> None:
        slow = asyncio.create_task(explorer.request({"name": "slow"}, client="tab"))
        await until(lambda: seen(tmp_path) == ["slow"])
        monkeypatch.setattr(explorer_module, "TOO_LONG", 0.0)
        assert (await explorer.request({"name": "next"}, client="tab")).values["name"] == "next"
        with pytest.raises(ExplorerError, match="took too long"):
            await slow

    with_explorer(fake, scenario)


def test_closing_answers_what_waits(fake: tuple[str, ...], tmp_path: Path) -> None:
    async def scenario(explorer: Explorer) -> None:
        slow = asyncio.create_task(explorer.request({"name": "slow"}, client="tab"))
        waits = asyncio.create_task(explorer.request({"name": "waits"}))
        await until(lambda: seen(tmp_path) == ["slow"])
        pid = explorer.pid
        explorer.close()
        for task in (slow, waits):
            with pytest.raises(ExplorerError, match="stopping"):
                await task
        await until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text())
        with pytest.raises(ExplorerError, match="stopping"):
            await explorer.request({"name": "late"})

    with_explorer(fake, scenario)


def test_a_program_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def scenario(explorer: Explorer) -> None:
        with pytest.raises(ExplorerError, match="cannot be started"):
            await explorer.request({"name": "a"})

    with_explorer(("/no/such/program",), scenario)
    assert list(tmp_path.iterdir()) == [], "no temporary folder remains"


def test_frames_survive_a_stream() -> None:
    reading, writing = os.pipe()
    frames = [Frame({"text": "für\n", "number": 1.5}, b"\x00" * 5000), Frame()]
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as target:
        for frame in frames:
            target.write(frame.encode())
        target.write(frames[0].encode()[:50])
        target.close()
        assert [read_frame(source), read_frame(source), read_frame(source)] == [*frames, None]


def test_the_studio_imports_no_torch() -> None:
    code = (
        "import sys; import equipoise.studio.app, equipoise.studio.explorer_process, equipoise.studio.explorer; "
        "print(*(name for name in ('torch', 'rich', 'matplotlib.pyplot') if name in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_pictures_of_the_process(open_studio, runs: Path, tmp_path: Path, call) -> None:
    """The whole way: routes, process, picture; the same bytes as `equipoise sample`; it ends with the studio."""
    client = open_studio(runs)
    body = {"run": "digits", "kind": "grid", "count": 6, "seed": 2, "client": "tab"}
    answer = client.post("/api/explore", body)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png"), answer.content
    assert answer.headers["x-equipoise-step"] == "12"
    assert answer.headers["x-equipoise-command"].startswith("equipoise sample ")
    assert call("sample", runs / "digits", "--count", 6, "--seed", 2, "--out", tmp_path / "a.png")[0] == 0
    assert answer.content == (tmp_path / "a.png").read_bytes()
    pid = client.studio.explorer.pid
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
    assert client.get("/api/explore/digits?step=5").values["step"] == 5
    recipe = {"run": "digits", "kind": "seeds", "samples": ["2/3"], "step": 12}
    address = f"/api/explore/samples/thumbnail.png?body={quote(json.dumps(recipe))}"
    assert client.get(address).content == client.post("/api/explore", recipe).content
    assert client.get(address.replace("digits", "nowhere")).status == 404
    assert client.get("/api/runs/digits/neighbours?step=12&index=3").headers["content-type"] == "image/png"
    for path, status in (("digits?step=7", 422), ("nowhere", 404), ("jobs/p3", 422), ("jobs/..", 404)):
        assert client.get(f"/api/explore/{path}").status == status, path
    for wrong in ({"kind": "nothing"}, {**body, "more": 1}, {**body, "count": 10_000}, {**body, "step": "../x"}):
        assert client.post("/api/explore", wrong).status == 422
    assert client.post("/api/explore", {**body, "run": "../digits"}).status == 404
    os.kill(pid, signal.SIGKILL)
    assert client.post("/api/explore", body).content == answer.content, "a killed process is started again"
    pid = client.studio.explorer.pid
    client.studio.resources.close()
    for _ in range(500):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("trust_code", [False, True])
def test_consent_is_passed_on(tmp_path: Path, trust_code: bool) -> None:
    """The process gets the flag that lets it import code of the runs only if the studio was started with it."""
    script = tmp_path / "words.py"
    script.write_text(f"import sys; open({str(tmp_path / 'words')!r}, 'w').write(' '.join(sys.argv[2:]))")

    async def scenario() -> None:
        explorer = Explorer(trust_code, (sys.executable, str(script)))
        with pytest.raises(ExplorerError, match="ended twice"):
            await explorer.request({"name": "a"})
        explorer.close()

    asyncio.run(scenario())
    assert (tmp_path / "words").read_text() == ("--trust-code" if trust_code else "")


def test_the_process_ends_with_the_studio(tmp_path: Path) -> None:
    """Also if the studio was killed: its end of the pipe closes, and the temporary files are removed."""
    folder = tmp_path / "explorer"
    folder.mkdir()
    (folder / "picture.png").touch()
    words = [sys.executable, "-m", "equipoise.studio.explorer_process", str(folder)]
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=200)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert not folder.exists()
