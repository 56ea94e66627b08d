import asyncio
import json
import shutil
from pathlib import Path

from equipoise.runs.folders import BUSY, hold
from equipoise.runs.run_index import RunIndex
from equipoise.studio import stream
from equipoise.studio.stream import Watch, messages

FIXTURE = Path(__file__).parents[2] / "fixtures" / "format_1_ring"


def append(root: Path, **line: object) -> None:
    with (root / "ring" / "events.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def parse(message: str) -> tuple[str, dict[str, object]]:
    """Return id and data of a message, which must be of a run."""
    kind, identity, data, *rest = message.split("\n")
    assert kind == "event: run"
    assert rest == ["", ""]
    return identity.removeprefix("id: "), json.loads(data.removeprefix("data: "))


async def following(root: Path, last_id: str | None, *changes: object) -> list[str]:
    """Return the messages of a connection: those at once, and after each change."""
    stopping = asyncio.Event()
    received: list[str] = []

    async def read() -> None:
        async for message in messages(Watch(RunIndex(root), stopping), last_id):
            received.append(message)

    task = asyncio.create_task(read())
    await asyncio.sleep(0.1)
    for change in changes:
        change()  # type: ignore[operator]
        before = len(received)
        for _ in range(100):
            await asyncio.sleep(0.02)
            if len(received) > before:
                break
    stopping.set()
    await asyncio.wait_for(task, 5)
    return received


def test_a_page_learns_what_changes(root: Path) -> None:
    ready, *rest = asyncio.run(
        following(
            root,
            None,
            lambda: append(root, event="resumed", step=20, images=640),
            lambda: append(root, event="saved", step=30, images=960, checkpoint="step-00000030", best=False),
            lambda: shutil.copytree(FIXTURE, root / "new"),
            lambda: shutil.rmtree(root / "new"),
        )
    )
    assert ready == "retry: 1000\n: ready\n\n"
    parsed = [parse(message) for message in rest]
    assert [data for _, data in parsed] == [
        {"id": "ring", "step": 20, "state": "stopped"},
        {"id": "ring", "step": 30, "state": "stopped"},
        {"id": "new", "step": 40, "state": "finished"},
        {"id": "new", "step": None, "state": "deleted"},
    ]
    size = (root / "ring" / "events.jsonl").stat().st_size
    assert parsed[1][0] == f"ring:{size}"


def test_a_run_that_starts_or_dies_is_news(root: Path) -> None:
    append(root, event="resumed", step=20, images=640)
    held = hold(root / "ring" / "events.jsonl", BUSY)
    _, *rest = asyncio.run(following(root, None, held.__enter__, lambda: held.__exit__(None, None, None)))
    assert [parse(message)[1]["state"] for message in rest] == ["running", "stopped"]


def test_after_an_interruption_only_runs_with_news_are_named(root: Path) -> None:
    shutil.copytree(FIXTURE, root / "a name: with%20signs")
    size = (root / "ring" / "events.jsonl").stat().st_size
    _, *rest = asyncio.run(following(root, f"ring:{size}"))
    ((identity, data),) = map(parse, rest)
    assert (identity, data["id"]) == (f"a%20name%3A%20with%2520signs:{size}", "a name: with%20signs")
    _, *rest = asyncio.run(following(root, identity))
    assert [parse(message)[1]["id"] for message in rest] == ["ring"]
    for other in ("ring:1", "nonsense", "", "ring:", "%FF:3"):
        _, *rest = asyncio.run(following(root, other))
        assert len(rest) == 2


def test_a_silent_stream_sends_comments(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(stream, "PAUSE", 0.1)
    _, *rest = asyncio.run(following(root, None, lambda: None))
    assert set(rest) == {": still here\n\n"}


def test_the_folders_are_looked_at_once_for_all_and_not_without_a_page(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(stream, "INTERVAL", 0.01)
    looks = 0

    class CountingIndex(RunIndex):
        def news(self):
            nonlocal looks
            looks += 1
            return super().news()

    async def run() -> None:
        stopping = asyncio.Event()
        watch = Watch(CountingIndex(root), stopping)

        async def read(count: int) -> None:
            listener = watch.listen()
            for _ in range(count):
                await anext(listener)
            await listener.aclose()

        await asyncio.gather(*(read(5) for _ in range(10)))
        assert looks <= 14
        await asyncio.sleep(0.1)
        after = looks
        await asyncio.sleep(0.1)
        assert looks <= after + 1
        stopping.set()

    asyncio.run(run())
