"""A studio without a server: its routes are called directly, in one event loop for the whole session."""

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("starlette", reason="the studio needs starlette: pip install equipoise[studio]")

from starlette.applications import Starlette

from equipoise.errors import EquipoiseError
from equipoise.runs.run_index import RunIndex
from equipoise.studio import comparison_api, diagnosis_api, explorer_api, labels_api, launch_api, requests_api, runs_api
from equipoise.studio.responses import error_response
from equipoise.studio.studio import Studio


@dataclass
class Answer:
    """An answer of the application."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""

    @property
    def values(self) -> dict[str, object]:
        return json.loads(self.content)


@dataclass
class Client:
    """Calls the routes of a studio, in its event loop."""

    studio: Studio
    loop: asyncio.AbstractEventLoop

    def __post_init__(self) -> None:
        parts = (explorer_api, labels_api, comparison_api, diagnosis_api, launch_api, requests_api, runs_api)
        self.app = Starlette(
            routes=[route for part in parts for route in part.routes(self.studio)],
            exception_handlers={EquipoiseError: lambda _, error: error_response(error)},
        )

    def run(self, task):
        """Run a coroutine to its end."""
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(300)

    def get(self, path: str) -> Answer:
        return self.run(self.call("GET", path, b""))

    def post(self, path: str, body: object) -> Answer:
        return self.run(self.call("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode()))

    async def call(self, method: str, path: str, body: bytes) -> Answer:
        url, answer, parts = urlsplit(path), Answer(), [body]

        async def receive():
            return (
                {"type": "http.request", "body": parts.pop(), "more_body": False} if parts else await asyncio.sleep(9)
            )

        async def send(message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            answer.content += message.get("body", b"")

        scope = {
            **{"type": "http", "method": method, "path": url.path, "query_string": url.query.encode()},
            **{"headers": [], "http_version": "1.1", "root_path": "", "scheme": "http", "server": ("127.0.0.1", 1)},
        }
        await self.app(scope, receive, send)
        return answer


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def open_studio(loop: asyncio.AbstractEventLoop) -> Iterator[Callable[..., Client]]:
    """Return a function that opens a studio of a folder; it is closed after the test."""
    clients: list[Client] = []

    def open_client(root: Path, **options: object) -> Client:
        clients.append(Client(Studio(root, RunIndex(root), **options), loop))
        return clients[-1]

    yield open_client
    for client in clients:
        client.run(_close(client.studio))


async def _close(studio: Studio) -> None:
    studio.resources.close()
    await asyncio.sleep(0.1)


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A folder with one finished run, `digits`, which a test can change."""
    shutil.copytree(trained, tmp_path / "runs" / "digits")
    return tmp_path / "runs"
