"""Manual control of a running training: the requests of a person, taken from the plan of the run after each step."""

from collections.abc import Generator, Iterator, Set
from typing import TYPE_CHECKING

from equipoise.core.events import Event, Requested, Turned
from equipoise.core.requests import RequestAction, RunRequest
from equipoise.errors import EquipoiseError, SettingError
from equipoise.pilot.step import KnobChange

if TYPE_CHECKING:
    from equipoise.training.loop import Training

SAVES_KEPT = 5
"""Number of requested checkpoints, the latest ones, that are not deleted in favour of later checkpoints."""


def apply_requests(training: "Training", *, is_reading: bool) -> Generator[Event, None, frozenset[RequestAction]]:
    """Take the requests of a person after a step; yield each, with the changes of knobs; return their actions.

    Knobs are turned and released here; the loop samples, evaluates, saves and stops. A request that cannot be acted on
    is refused, with the reason in its event.
    """
    state = training.state
    actions: set[RequestAction] = set()
    for request in training.plan.requests.take(state.step, is_reading=is_reading):
        changes: tuple[KnobChange, ...] = ()
        refused = ""
        try:
            _check(training, request)
            if request.action in ("turn", "release"):
                changes = training.pilot.set_manual(request.knob, request.value, _reason(request))
            actions.add(request.action)
        except EquipoiseError as error:
            refused = str(error)
        yield Requested(
            state.step,
            state.images,
            action=request.action,
            knob=request.knob,
            value=request.value,
            text=request.text,
            by=request.by,
            request=request.id,
            refused=refused,
        )
        yield from turned_events(training, changes)
    return frozenset(actions)


def record_requested_save(training: "Training", requested: Set[RequestAction]) -> None:
    """Record that the checkpoint of this step was requested, if it was, so that it is kept."""
    if "save" in requested:
        training.requested_saves = [*training.requested_saves, training.state.step][-SAVES_KEPT:]


def turned_events(training: "Training", changes: tuple[KnobChange, ...]) -> Iterator[Turned]:
    """Yield the event of each change of a knob."""
    state = training.state
    for change in changes:
        yield Turned(state.step, state.images, change.knob, change.before, change.after, change.source, change.reason)


def _check(training: "Training", request: RunRequest) -> None:
    """Raise SettingError if a request cannot be acted on; the pilot checks knobs and values itself."""
    if request.problem:
        raise SettingError(request.problem)
    acts = training.state.model.turnable
    if request.action == "turn" and request.knob in acts - training.pilot.turnable:
        raise SettingError(f"{request.knob} is frozen in this run by --freeze")
    if request.action == "evaluate" and training.evaluation is None:
        raise SettingError("this run computes no metric; use equipoise evaluate on one of its checkpoints")


def _reason(request: RunRequest) -> str:
    """Return why a knob changes, for its event: who holds or releases it."""
    verb = "released" if request.action == "release" else "held"
    return f"{verb} by {request.by}" if request.by else verb
