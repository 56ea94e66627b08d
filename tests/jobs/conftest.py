"""Files in memory, and clocks that tests set."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from equipoise.jobs.claims import ClaimFolder
from equipoise.jobs.identity import ProcessIdentity


@dataclass
class MemoryFiles:
    """Files that all simulated processes see at once."""

    content: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def create(self, name: str, content: bytes) -> bool:
        if name in self.content:
            return False
        self.replace(name, content)
        return True

    def read(self, name: str) -> tuple[bytes, int] | None:
        return (self.content[name], self.versions[name]) if name in self.content else None

    def replace(self, name: str, content: bytes) -> None:
        self.content[name] = content
        self.touch(name)

    def touch(self, name: str) -> None:
        self.versions[name] = self.versions.get(name, 0) + 1


@dataclass
class Clock:
    """Seconds since some start, of one machine."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def identity(name: str) -> ProcessIdentity:
    """A process of another machine, of which nothing is known."""
    return ProcessIdentity(name, f"host-{name}", f"boot-{name}", 1, "")


@pytest.fixture
def files() -> MemoryFiles:
    return MemoryFiles()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(files: MemoryFiles, clock: Clock) -> Callable[..., ClaimFolder]:
    """Create the view of one process on another machine; `ahead`: by how many seconds its clock differs."""

    def create(name: str, ahead: float = 0.0) -> ClaimFolder:
        return ClaimFolder(files, identity(name), lambda: clock.seconds + ahead)

    return create
