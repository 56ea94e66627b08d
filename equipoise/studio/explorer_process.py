"""The explorer: a process next to the studio that loads generators and answers with pictures. It ends with the studio.

    python -m equipoise.studio.explorer_process FOLDER [--trust-code]

Messages come from standard input and leave by standard output, see `frames.py`: nothing else is printed there. It runs
at low priority on one thread, so that training loses little, and may be killed at any time.
"""

import itertools
import os
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from equipoise.core import catalog
from equipoise.core.own_code import describe_error
from equipoise.errors import EquipoiseError, SettingError
from equipoise.studio.frames import Frame, read_frame

if TYPE_CHECKING:
    from torch import Tensor

    from equipoise.studio.exploration import ExplorationContext, ExplorerPicture
    from equipoise.studio.explore_requests import AnyExploreRequest, LoadRequest, ProjectRequest
    from equipoise.studio.picture_exploration import ProjectionJob

NICENESS = 10
TRUST_FLAG = "--trust-code"
REFUSAL = "if you trust this folder, start the studio with: equipoise studio --trust-code"
MAX_JOBS = 20
"""Number of projections, and of loaded files, that are kept."""


class ExplorerService:
    """Answers messages. `folder`: for temporary files. Importing torch takes seconds when it is created."""

    def __init__(self, folder: Path) -> None:
        from equipoise.studio.open_runs import OpenRuns

        self._folder = folder
        self._runs = OpenRuns()
        self._jobs: dict[str, ProjectionJob] = {}
        self._loaded: dict[str, Path] = {}
        self._numbers = itertools.count(1)
        self._train: tuple[Path, Tensor] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a projection is under way."""
        return any(job.state == "running" for job in self._jobs.values())

    def advance(self) -> None:
        """Make one step of the projection under way."""
        for job in self._jobs.values():
            if job.state == "running":
                job.advance()

    def answer(self, message: Frame) -> Frame:
        """Answer a message: a picture, values, or an error in one line."""
        try:
            return self._answer(message)
        except EquipoiseError as error:
            return Frame({"error": " ".join(str(error).split())})
        except MemoryError:
            return Frame({"error": "there is not enough memory for this; request fewer samples"})
        except Exception as error:
            problem = describe_error(error)
            return Frame({"error": f"unexpected error ({problem}); this is a defect of Equipoise, please report it"})

    def _answer(self, message: Frame) -> Frame:
        from equipoise.studio import exploration_facts

        values = message.values
        folder = Path(str(values.get("folder")))
        match values.get("action"):
            case "explore":
                return self._explore(folder, message.content)
            case "describe":
                step = exploration_facts.step_of(values.get("step"))
                return Frame({"values": exploration_facts.describe(self._runs.open(folder, step))})
            case "neighbours":
                return Frame({"type": "image/png"}, self._draw_neighbours(folder, message.content))
            case "reals":
                return Frame({"type": "image/png"}, _draw_reals(folder, values))
            case "job":
                return self._answer_about_job(str(values["job"]), str(values["part"]))
        raise ValueError(f"no action {values.get('action')}")

    def _explore(self, folder: Path, body: bytes) -> Frame:
        from equipoise.studio.exploration import ExplorationContext, enlarge
        from equipoise.studio.explore_requests import ExploreRequest, LoadRequest, ProjectRequest

        request = ExploreRequest.model_validate_json(body).root
        run = self._runs.open(folder, request.step)
        styles = {name: job.styles for name, job in self._jobs.items() if job.styles is not None}
        this = ExplorationContext(run, request, {**styles, **self._loaded})
        if isinstance(request, LoadRequest):
            return Frame({"values": {"name": self._load(this, request)}})
        if isinstance(request, ProjectRequest):
            return Frame({"job": self._start_job(this, request), "step": run.generator.step})
        return _picture_frame(enlarge(_draw(this, request), request.scale), run.generator.step)

    def _load(self, this: "ExplorationContext", request: "LoadRequest") -> str:
        """Keep a file of latents or styles, and return its name as a sample."""
        from equipoise.studio.exploration import LOADED, load_latents

        name = f"{LOADED}{next(self._numbers)}"
        self._loaded[name] = load_latents(this, request, self._folder / name)
        for old in list(self._loaded)[:-MAX_JOBS]:
            self._loaded.pop(old).unlink()
        return f"@{name}"

    def _draw_neighbours(self, folder: Path, picture: bytes) -> bytes:
        """Draw a picture and its nearest training images, which stay in memory for the last run."""
        from equipoise.evaluation.neighbours import draw_nearest, load_drawn_images
        from equipoise.runs.run import Run

        if self._train is None or self._train[0] != folder:
            self._train = None
            self._train = (folder, load_drawn_images(Run(folder)))
        return draw_nearest(picture, self._train[1])

    def _start_job(self, this: "ExplorationContext", request: "ProjectRequest") -> str:
        from equipoise.studio.picture_exploration import ProjectionJob

        if self.is_busy:
            raise SettingError("a projection is under way; wait until it is finished, or cancel it")
        name = f"p{next(self._numbers)}"
        self._jobs[name] = ProjectionJob(this, request, self._folder / name)
        for old in list(self._jobs)[:-MAX_JOBS]:
            del self._jobs[old]
        return name

    def _answer_about_job(self, name: str, part: str) -> Frame:
        if name not in self._jobs:
            return Frame({"error": f"there is no projection {name}; the explorer was restarted", "status": 404})
        job = self._jobs[name]
        if part == "picture":
            return _picture_frame(job.picture(), job.this.generator.step)
        if part == "latents":
            if job.styles is None:
                raise SettingError("the projection is not finished; wait for it")
            return Frame({"type": "application/octet-stream"}, job.styles.read_bytes())
        if part == "cancel":
            job.cancel()
        return Frame({"values": job.describe()})


def _draw_reals(folder: Path, values: Mapping[str, object]) -> bytes:
    from equipoise.runs.run import Run
    from equipoise.studio.reals import draw_reals

    columns, limit = values["columns"], values["limit"]
    assert isinstance(columns, int)
    assert isinstance(limit, int)
    return draw_reals(Run(folder), columns, limit)


def _draw(this: "ExplorationContext", request: "AnyExploreRequest") -> "ExplorerPicture":
    from equipoise.studio import exploration, picture_exploration, style_exploration
    from equipoise.studio.explore_requests import (
        ArithmeticRequest,
        DirectionsRequest,
        GridRequest,
        InterpolateRequest,
        MixRequest,
        PlaneRequest,
        PromptRequest,
        SeedsRequest,
        TranslateRequest,
    )

    match request:
        case GridRequest() | PromptRequest():
            return exploration.explore_grid(this, request)
        case SeedsRequest():
            return exploration.explore_seeds(this, request)
        case PlaneRequest():
            return exploration.explore_plane(this, request)
        case InterpolateRequest():
            return exploration.explore_interpolation(this, request)
        case MixRequest():
            return style_exploration.explore_mix(this, request)
        case DirectionsRequest():
            return style_exploration.explore_directions(this, request)
        case ArithmeticRequest():
            return style_exploration.explore_arithmetic(this, request)
        case TranslateRequest():
            return picture_exploration.explore_translation(this, request)
    raise ValueError(f"no kind {request.kind}")


def _picture_frame(picture: "ExplorerPicture", step: int) -> Frame:
    traits = " ".join(picture.traits)
    values = {"type": picture.media_type, "command": picture.command, "step": step, "traits": traits}
    values |= {"notes": "\n".join(picture.notes)}
    return Frame(values, picture.content)


def serve_messages(
    source: BinaryIO, target: BinaryIO, service: ExplorerService, ended: Callable[[], None] = lambda: None
) -> None:
    """Answer messages in order until the source ends; between them, advance a projection.

    `ended`: called in another thread when the source ends, perhaps in the middle of an answer.
    """
    waiting: queue.Queue[Frame | None] = queue.Queue()
    threading.Thread(target=_receive, args=(source, waiting, ended), daemon=True).start()
    while True:
        try:
            message = waiting.get(block=not service.is_busy)
        except queue.Empty:
            service.advance()
            continue
        if message is None:
            return
        answer = service.answer(message)
        identified: Mapping[str, object] = {**answer.values, "id": message.values.get("id")}
        target.write(Frame(identified, answer.content).encode())
        target.flush()


def _receive(source: BinaryIO, waiting: "queue.Queue[Frame | None]", ended: Callable[[], None]) -> None:
    """Put messages into the queue, and None after the last one."""
    while (message := read_frame(source)) is not None:
        waiting.put(message)
    ended()
    waiting.put(None)


def _end(folder: Path) -> None:
    """End this process at once, with its temporary files: nobody waits for the answer."""
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def main(words: list[str]) -> None:
    """Run the explorer. The first word is the folder for its temporary files, which the studio removes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the studio, which ends this process
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print does not mix with messages
    if TRUST_FLAG not in words:
        catalog.refuse_custom_code(REFUSAL)
    import torch

    torch.set_num_threads(1)
    folder = Path(words[0])
    serve_messages(sys.stdin.buffer, output, ExplorerService(folder), lambda: _end(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
