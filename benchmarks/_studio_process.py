"""A studio in a process of its own, and the requests that its page sends: for studio.py."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from _results import environment

CURVES = (
    *("rank_train_fake", "loss_g", "loss_d", "gradient_norm_g", "gradient_norm_d", "sign_real", "lr_d", "lr_g"),
    "fd_digits",
)
"""Curves that the page of a run shows first."""


class StudioProcess:
    """A studio of a folder, and the requests of a page."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-m", "equipoise", "studio", str(root), "--port", "0", "--no-browser"]
        start = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(1))
        assert self.process.stdout is not None
        address = self.process.stdout.readline().strip().rpartition(" ")[2]
        self.startup = time.perf_counter() - start
        self.host = urlsplit(address).netloc
        self.headers: dict[str, str] = {}
        response = self.open("/?" + urlsplit(address).query)
        self.headers["Cookie"] = (response.getheader("set-cookie") or "").partition(";")[0]

    def open(self, target: str, body: object = None) -> http.client.HTTPResponse:
        """Send a request with the cookie; return the answer, whose body was not read. `body`: of a POST, as JSON."""
        connection = http.client.HTTPConnection(self.host, timeout=600)
        if body is None:
            connection.request("GET", target, headers=self.headers)
        else:
            headers = {**self.headers, "Content-Type": "application/json", "Origin": f"http://{self.host}"}
            connection.request("POST", target, json.dumps(body), headers)
        response = connection.getresponse()
        if response.status not in (200, 303):
            raise RuntimeError(f"{target}: {response.status} {response.read()!r}")
        return response

    def get(self, target: str) -> bytes:
        """Return the body of an answer."""
        return self.open(target).read()

    def show(self, run: str) -> None:
        """Send the requests of the page of a run."""
        for target in ("", "/timeline", "/samples", "/requests", f"/series?names={','.join(CURVES)}&pixels=600"):
            self.get(f"/api/runs/{run}{target}")

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the studio up to now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def peak_memory(self) -> int:
        """Return the largest resident set in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) * 1024 // 10**6

    def close(self) -> None:
        """End the studio."""
        self.process.terminate()
        self.process.communicate()


@contextlib.contextmanager
def studio_of(root: Path) -> Iterator[StudioProcess]:
    studio = StudioProcess(root)
    try:
        yield studio
    finally:
        studio.close()
