"""Experiment trackers: writing the events of a run to TensorBoard or Weights & Biases as well."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from PIL.Image import Image

from equipoise.core.events import Evaluated, Event, Resumed, Sampled, Sensed, Turned
from equipoise.core.observations import Signals
from equipoise.errors import MissingPackageError, RunError, SettingError, resume_command
from equipoise.runs.artifacts import make_grid

TrackerName = Literal["tensorboard", "wandb", "off"]


WITHOUT_KEY = ("offline", "disabled", "dryrun")
"""Modes of wandb that need no key."""


class Tracker(Protocol):
    """Receiver of the numbers and images of a run."""

    def log_numbers(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers by name; a slash makes a group."""

    def log_image(self, name: str, image: Image, step: int) -> None:
        """Log a grid of samples."""

    def close(self) -> None:
        """Write pending values and close the tracker."""


def check_ready(name: TrackerName) -> None:
    """Raise SettingError if a tracker cannot be used, before a run folder is created.

    Raises MissingPackageError if its package is not installed, SettingError if wandb would need a key that it does not
    have.
    """
    if name != "off" and find_spec(name) is None:
        raise MissingPackageError(
            f"--track {name} needs a package that is not installed: pip install 'equipoise[track]'"
        )
    if name == "wandb":
        _check_wandb()


def _check_wandb() -> None:
    """Raise SettingError unless wandb is offline, or has a valid key in the environment or of an earlier login."""
    import wandb

    module: Any = wandb
    remedy = "to keep the run on this machine, set WANDB_MODE=offline"
    try:
        if module.setup().settings.mode in WITHOUT_KEY:
            return
        if "prompt" in inspect.signature(module.login).parameters:
            has_key = module.login(prompt=False)
        else:  # versions before 0.30
            has_key = module.api.api_key
    except Exception as error:
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        raise SettingError(f"--track wandb cannot log in: {problem}; {remedy}") from error
    if not has_key:
        raise SettingError(f"--track wandb needs a key, and there is none; log in with: wandb login; or, {remedy}")


def track_events(
    events: Iterator[Event], name: TrackerName, folder: Path, experiment: Mapping[str, object]
) -> Iterator[Event]:
    """Yield the events unchanged, after writing each to the tracker `name`; "off" writes nothing.

    The tracker is opened at the first event, when the run folder exists.
    """
    if name == "off":
        yield from events
        return
    with ExitStack() as stack:
        tracker: Tracker | None = None
        for event in events:
            if tracker is None:
                tracker = _open(name, folder, experiment, event.step if isinstance(event, Resumed) else 0)
                stack.callback(tracker.close)
            _write(event, tracker)
            yield event


def _open(name: str, folder: Path, experiment: Mapping[str, object], step: int) -> Tracker:
    """Open a tracker. Raises RunError with one line if it fails: the network, the account, or a version."""
    try:
        return TRACKERS[name](folder, experiment, step)
    except Exception as error:
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        remedy = "set WANDB_MODE=offline" if name == "wandb" else f"reinstall {name}"
        raise RunError(f"--track {name} cannot start: {problem}; {remedy}, then: {resume_command(folder)}") from error


def _write(event: Event, tracker: Tracker) -> None:
    match event:
        case Sensed():
            values = {f"loss/{name}": stats.mean for name, stats in event.loss.items()}
            values |= {f"signals/{name}": value for name, value in _signal_values(event.signals).items()}
            values["speed/images_per_second"] = event.images / max(event.seconds, 1e-9)
            tracker.log_numbers(values, event.step)
        case Turned():
            tracker.log_numbers({f"knobs/{event.knob}": event.after}, event.step)
        case Evaluated():
            tracker.log_numbers({f"metrics/{event.metric}": event.value}, event.step)
        case Sampled() if event.samples.ndim == 4:
            tracker.log_image("samples", make_grid(event.samples, event.columns), event.step)


def _signal_values(signals: Signals) -> dict[str, float]:
    values = {name: getattr(signals, name) for name in Signals.__dataclass_fields__ if name != "metrics"}
    return {name: float(value) for name, value in values.items() if value is not None}


class _TensorBoard:
    """Tracker that writes event files to RUN/tensorboard. A resumed run hides earlier values of later steps."""

    def __init__(self, folder: Path, experiment: Mapping[str, object], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        make_writer: Any = SummaryWriter
        self._writer = make_writer(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
        self._writer.add_text("experiment", str(dict(experiment)), step)

    def log_numbers(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_image(self, name: str, image: Image, step: int) -> None:
        import numpy as np

        self._writer.add_image(name, np.asarray(image), step, dataformats="HW" if image.mode == "L" else "HWC")

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """Tracker that logs to Weights & Biases, under the name of the run folder, with the user's settings of wandb."""

    def __init__(self, folder: Path, experiment: Mapping[str, object], step: int) -> None:
        import wandb

        module: Any = wandb
        path = folder.resolve()
        self._wandb = module
        self._run = module.init(
            dir=str(folder),
            name=path.name,
            id=blake2b(str(path).encode(), digest_size=8).hexdigest(),  # the same when the run is resumed
            config=dict(experiment),
            resume="allow" if step else None,
        )
        # The steps of wandb can only increase; a separate number can repeat in a resumed run.
        self._run.define_metric("*", step_metric="step")

    def log_numbers(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, "step": step})

    def log_image(self, name: str, image: Image, step: int) -> None:
        self._run.log({name: self._wandb.Image(image), "step": step})

    def close(self) -> None:
        self._run.finish()


TRACKERS: Mapping[str, Callable[[Path, Mapping[str, object], int], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
}
