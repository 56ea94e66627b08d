"""A run's events, also written to where others look: TensorBoard or Weights & Biases."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from PIL.Image import Image

from equipoise.core.events import Evaluated, Event, Resumed, Sampled, Sensed, Turned
from equipoise.core.observations import Signals
from equipoise.errors import SettingError
from equipoise.runs.artifacts import make_grid

Name = Literal["tensorboard", "wandb", "off"]


class Tracker(Protocol):
    """Somewhere to write numbers and pictures of a step to."""

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name; a slash makes a group."""

    def picture(self, name: str, image: Image, step: int) -> None:
        """A grid of samples."""

    def close(self) -> None:
        """Write what is still in memory."""


def check(name: Name) -> None:
    """Raise SettingError if the package of a tracker is not installed."""
    if name != "off" and find_spec(name) is None:
        raise SettingError(f"--track {name} needs a package that is not installed: pip install 'equipoise[track]'")


def tracked(events: Iterator[Event], name: Name, folder: Path, experiment: Mapping[str, Any]) -> Iterator[Event]:
    """The same events, each written to the tracker `name` before it is passed on; with "off" nothing is.

    The tracker is opened at the first event, when the run folder stands.
    """
    if name == "off":
        yield from events
        return
    with ExitStack() as stack:
        tracker: Tracker | None = None
        for event in events:
            if tracker is None:
                tracker = TRACKERS[name](folder, experiment, event.step if isinstance(event, Resumed) else 0)
                stack.callback(tracker.close)
            _write(event, tracker)
            yield event


def _write(event: Event, tracker: Tracker) -> None:
    match event:
        case Sensed():
            values = {f"loss/{name}": reading.mean for name, reading in event.loss.items()}
            values |= {f"signals/{name}": value for name, value in _signals(event.signals).items()}
            tracker.numbers(values | {"speed/images_per_second": event.images / max(event.seconds, 1e-9)}, event.step)
        case Turned():
            tracker.numbers({f"knobs/{event.knob}": event.after}, event.step)
        case Evaluated():
            tracker.numbers({f"metrics/{event.metric}": event.value}, event.step)
        case Sampled() if event.samples.ndim == 4:
            tracker.picture("samples", make_grid(event.samples, event.columns), event.step)


def _signals(signals: Signals) -> dict[str, float]:
    values = {name: getattr(signals, name) for name in Signals.__dataclass_fields__ if name != "metrics"}
    return {name: float(value) for name, value in values.items() if value is not None}


class _TensorBoard:
    """Event files in RUN/tensorboard. What followed the step that a run goes on from is not shown any more."""

    def __init__(self, folder: Path, experiment: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        make: Any = SummaryWriter
        self._writer: Any = make(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
        self._writer.add_text("experiment", str(dict(experiment)), step)

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, name: str, image: Image, step: int) -> None:
        import numpy as np

        self._writer.add_image(name, np.asarray(image), step, dataformats="HW" if image.mode == "L" else "HWC")

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A Weights & Biases run of the run folder's name; its settings (key, offline mode, project) are the user's own."""

    def __init__(self, folder: Path, experiment: Mapping[str, Any], step: int) -> None:
        import wandb

        where = folder.resolve()
        identity = blake2b(str(where).encode(), digest_size=8).hexdigest()  # found again when the run is resumed
        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            dir=str(folder),
            name=where.name,
            id=identity,
            config=dict(experiment),
            resume="allow" if step else None,
        )
        # Steps of its own may only grow; ours is one more number, which a resumed run may repeat.
        self._run.define_metric("*", step_metric="step")

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, "step": step})

    def picture(self, name: str, image: Image, step: int) -> None:
        self._run.log({name: self._wandb.Image(image), "step": step})

    def close(self) -> None:
        self._run.finish()


TRACKERS: Mapping[str, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
}
