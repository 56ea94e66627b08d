"""The server of the studio: listens, prints its address, opens the browser, and ends on Ctrl-C with pages open."""

import asyncio
import errno
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from equipoise.errors import RunError, SettingError
from equipoise.runs.run_index import RunIndex
from equipoise.studio.app import make_app
from equipoise.studio.guard import Access, allowed_hosts, is_loopback
from equipoise.studio.studio import Studio

SHORTEST_TOKEN = 16
GRACE_SECONDS = 1
"""Seconds that requests may take to end when the server stops."""


@dataclass(frozen=True)
class ServerOptions:
    """Options of the command: the folder with runs, where to listen, and who may look.

    `token`: None for a new one. `trust_code`: whether code that runs name may be imported.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    trust_code: bool = False


def serve(options: ServerOptions, started: Callable[[str], None]) -> None:
    """Run a studio until Ctrl-C or SIGTERM. `started`: called with its address, once it listens.

    Raises RunError if the folder cannot be read or the port is in use, SettingError for a token that is too short.
    """
    _check_token(options)
    index = RunIndex(options.root)
    index.names()
    with _listen(options.host, options.port) as listener:
        port = listener.getsockname()[1]
        hosts = allowed_hosts(options.host, port)
        access = Access(hosts, port, options.token) if options.token else Access(hosts, port)
        studio = Studio(options.root, index, options.trust_code)
        server = _Server(make_app(studio, access), studio.stopping, lambda: started(_address(options.host, access)))
        try:
            asyncio.run(server.serve([listener]))
        except KeyboardInterrupt:
            return


def open_browser(address: str) -> None:
    """Open an address in the browser of the desktop, if there is one; text browsers are not started."""
    has_desktop = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_desktop:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


class _Server(uvicorn.Server):
    """A server that tells its streams to end when it stops: an open one would keep it waiting."""

    def __init__(self, app: Callable[..., object], stopping: asyncio.Event, started: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._stopping = stopping
        self._started = started
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then report it."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop the server and its streams; called for SIGINT and SIGTERM."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)


def _check_token(options: ServerOptions) -> None:
    if options.token is not None and len(options.token) < SHORTEST_TOKEN:
        raise SettingError(
            f"--token has {len(options.token)} characters; use at least {SHORTEST_TOKEN} that nobody can guess"
        )
    if options.token is None and not is_loopback(options.host):
        raise SettingError(
            f"--host {options.host} lets other computers reach the studio, which can start programs; add --token with "
            f"at least {SHORTEST_TOKEN} characters, or leave out --host and use: ssh -L {options.port}:127.0.0.1:"
            f"{options.port} HOST"
        )


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises RunError if the port is in use, or the host has no such address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = f"choose another port, such as --port {port + 1}, or --port 0 for any that is free"
            raise RunError(f"port {port} is in use, perhaps by another studio; {remedy}") from error
        if error.errno == errno.EACCES:
            raise RunError(f"no permission to listen at port {port}; choose one from 1024, such as 8765") from error
        raise RunError(f"cannot listen at {host}: {error.strerror or error}; leave out --host") from error


def _address(host: str, access: Access) -> str:
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{access.port}/?token={access.token}"
