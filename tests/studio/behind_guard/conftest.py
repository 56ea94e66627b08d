"""A studio of a folder of runs behind its guard, called without a network."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs pip install 'equipoise[studio]'")

from equipoise.runs.run_index import RunIndex
from equipoise.studio.app import make_app
from equipoise.studio.guard import Access, allowed_hosts
from equipoise.studio.studio import Studio

FIXTURE = Path(__file__).parents[2] / "fixtures" / "format_1_ring"
PORT = 8765
TOKEN = "token-of-sixteen-characters"
HOST = f"127.0.0.1:{PORT}"


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in lower case) and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Browser:
    """Sends requests to a studio as a browser with the cookie does; a header of None is not sent."""

    studio: Studio
    access: Access = field(default_factory=lambda: Access(allowed_hosts("127.0.0.1", PORT), PORT, TOKEN))

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        sent: dict[str, str | None] = {"host": HOST, "cookie": f"{self.access.cookie}={self.access.session}"}
        if body is not None:
            sent |= {"content-type": "application/json", "content-length": str(len(body)), "origin": f"http://{HOST}"}
        sent |= headers or {}
        return asyncio.run(self._call(method, target, body or b"", sent))

    def get(self, target: str, **headers: str | None) -> Answer:
        return self.request("GET", target, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, target: str, value: object, **headers: str | None) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", target, json.dumps(value).encode(), named)

    async def _call(self, method: str, target: str, body: bytes, headers: Mapping[str, str | None]) -> Answer:
        from urllib.parse import unquote

        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items() if value is not None],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", PORT),
        }
        parts = [body[start : start + 65_536] for start in range(0, len(body), 65_536)] or [b""]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not parts:
                await asyncio.sleep(3600)
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await make_app(self.studio, self.access)(scope, receive, send)  # type: ignore[arg-type]
        names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], names, b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one finished run, `ring`, of points."""
    shutil.copytree(FIXTURE, tmp_path / "runs" / "ring")
    return tmp_path / "runs"


@pytest.fixture
def studio(root: Path) -> Studio:
    """A studio of that folder."""
    return Studio(root, RunIndex(root))


@pytest.fixture
def browser(studio: Studio) -> Browser:
    """A browser that has opened the studio."""
    return Browser(studio)
