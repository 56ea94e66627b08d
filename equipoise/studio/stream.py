"""The stream of news: one connection tells a page which runs have news, as server-sent events.

    event: run
    id: digits-dcgan-1:48211
    data: {"id": "digits-dcgan-1", "step": 1200, "state": "running"}

The page then asks for what it shows. A run is named at most four times a second.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote, unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from equipoise.runs.run_index import RunIndex, RunNews
from equipoise.studio.studio import Studio

INTERVAL = 0.25
"""Seconds between two looks at the run folders, while a page listens."""
PAUSE = 15.0
"""Seconds after which a comment is sent, so that a connection that is gone is noticed."""
DELETED = "deleted"
"""State of a run whose folder is gone."""

News = Mapping[str, RunNews]


class Watch:
    """The latest news of all runs, for any number of listeners: the folders are looked at once for all."""

    def __init__(self, index: RunIndex, stopping: asyncio.Event) -> None:
        self._index = index
        self._stopping = stopping
        self._news: News = {}
        self._looked = asyncio.Event()
        self._changed = asyncio.Event()
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None

    async def listen(self) -> AsyncIterator[News]:
        """Yield the news at once, and again after each look; ends when the server stops."""
        self._listeners += 1
        try:
            if self._task is None or self._task.done():
                self._looked.clear()
                self._task = asyncio.create_task(self._look())
            await self._looked.wait()
            while not self._stopping.is_set():
                yield self._news
                await self._changed.wait()
        finally:
            self._listeners -= 1

    async def _look(self) -> None:
        while self._listeners and not self._stopping.is_set():
            self._news = await run_in_threadpool(self._index.news)
            self._looked.set()
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), INTERVAL)
        self._changed.set()


def routes(studio: Studio) -> list[Route]:
    """Return the routes of this topic."""
    watch = Watch(studio.runs, studio.stopping)

    async def stream(request: Request) -> Response:
        last = request.headers.get("last-event-id")
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(messages(watch, last), media_type="text/event-stream", headers=headers)

    return [Route("/api/stream", stream)]


async def messages(watch: Watch, last_id: str | None) -> AsyncIterator[str]:
    """Yield the messages of one connection. `last_id`: of the message before it was interrupted, None for a new one.

    A new page asks for everything itself, so only later news are sent. After an interruption every run is named, except
    the one of the last message if it has no news.
    """
    sent: dict[str, RunNews] | None = None
    silent_since = asyncio.get_running_loop().time()
    yield "retry: 1000\n: ready\n\n"
    async for news in watch.listen():
        if sent is None:
            sent = dict(news) if last_id is None else _seen(news, last_id)
        now = asyncio.get_running_loop().time()
        changed = {name: item for name, item in news.items() if sent.get(name) != item}
        gone = sent.keys() - news.keys()
        for name, item in changed.items():
            yield _message(name, item.size, item.step, item.state)
        for name in sorted(gone):
            yield _message(name, 0, None, DELETED)
        sent = dict(news)
        if changed or gone:
            silent_since = now
        elif now - silent_since >= PAUSE:
            silent_since = now
            yield ": still here\n\n"


def _seen(news: News, last_id: str) -> dict[str, RunNews]:
    """Return the run of the last message if its log has not grown since."""
    name, _, size = last_id.rpartition(":")
    name = unquote(name)
    item = news.get(name)
    return {name: item} if item is not None and str(item.size) == size else {}


def _message(name: str, size: int, step: int | None, state: str) -> str:
    data = json.dumps({"id": name, "step": step, "state": state})
    return f"event: run\nid: {quote(name, safe='')}:{size}\ndata: {data}\n\n"
