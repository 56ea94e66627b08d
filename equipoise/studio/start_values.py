"""What the form of a new run begins with: the settings of a run, with its twin, or from one of its checkpoints on."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from equipoise.core.events import MANUAL, REPAIR
from equipoise.diagnosis.symptoms import SYMPTOMS
from equipoise.errors import RunError
from equipoise.report.formatting import format_count, format_number, symptom_words
from equipoise.runs.run import CHECKPOINTS_FOLDER
from equipoise.runs.run_index import LiveRun
from equipoise.studio.curves import initial_knobs
from equipoise.studio.diagnosis_api import advised_changes
from equipoise.studio.knob_states import KnobState, knob_states

WRITTEN = ("format", "versions", "budget", "seconds", "manual")
"""Settings that the program writes, or that another one replaces in a form."""
DIGITS = 3


def start_values(run: LiveRun, *, twin: bool = False) -> dict[str, object]:
    """Return title, note and settings of a duplicate. `twin`: with the same number of steps, whatever time it takes.

    Otherwise a run that was given minutes gets those again.
    """
    values = _settings_of(run, keeps_steps=twin)
    if not twin:
        return {
            "title": f"Start a run like {run.name}",
            "note": "The run continues when you close this page.",
            "values": values,
        }
    note = "The same settings and seed, without the changes by hand: the difference between both runs is what they did."
    name = free_name(run.run.folder.parent, f"{run.name}-untouched")
    return {"title": f"Repeat {run.name} without changes by hand", "note": note, "values": {**values, "name": name}}


def continued_values(run: LiveRun, step: int | None, symptom: str = "") -> dict[str, object]:
    """Return title, note and settings of a new run from the weights of a step; None: of the best checkpoint.

    The knobs begin where the controller had them at that step, changed by what repair does first about `symptom`.
    Raises RunError if the step has no checkpoint.
    """
    step, checkpoint = _find_checkpoint(run, step)
    values = _settings_of(run, keeps_steps=True)
    states = list(_knobs_at(run, step))
    advice = SYMPTOMS[symptom].advice if symptom in SYMPTOMS else ""
    changes = advised_changes(symptom, [state for state in states if state.name in advice])
    begin = {state.name: state.value for state in states if _differs(state)}
    begin |= {str(change["knob"]): float(str(change["to"])) for change in changes}
    own = values.get("knobs")
    knobs = {**(own if isinstance(own, Mapping) else {}), **{name: _round(value) for name, value in begin.items()}}
    steps = values.get("steps")
    remaining = steps - step if isinstance(steps, int) and steps > step else steps
    name = free_name(run.run.folder.parent, f"{run.name}-from-{step}")
    values |= {"start_from": str(checkpoint), "steps": remaining, "name": name, **({"knobs": knobs} if knobs else {})}
    hint = _describe_knobs(symptom, changes, begin)
    return {
        "title": f"Continue {run.name} from step {format_count(step)} as a new run",
        "note": f"The new run starts from the weights of that step; {run.name} is not changed. {hint}",
        "values": values,
    }


def free_name(root: Path, stem: str) -> str:
    """Return `stem`, or `stem`-N with the lowest N from 2, for which the folder `root` has no entry."""
    number = 1
    while (root / (name := stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return name


def _settings_of(run: LiveRun, *, keeps_steps: bool) -> dict[str, object]:
    experiment = run.run.experiment()
    values = {name: value for name, value in experiment.items() if name not in WRITTEN and value not in ({}, [])}
    budget = experiment.get("budget")
    if isinstance(budget, int | float) and budget > 0 and not keeps_steps:
        values.pop("steps", None)
        values["minutes"] = float(f"{budget / 60:.4g}")
    elif values.get("steps") is not None:
        values.pop("minutes", None)
    return values


def _find_checkpoint(run: LiveRun, step: int | None) -> tuple[int, Path]:
    saved = {line["step"]: line for line in run.log.events("saved")}
    folder = run.run.folder / CHECKPOINTS_FOLDER
    present = {key: path for key, line in saved.items() if (path := folder / str(line.get("checkpoint"))).is_dir()}
    best = [key for key, line in saved.items() if line.get("best") is True and key in present]
    wanted = (best[-1] if best else max(present, default=None)) if step is None else step
    if wanted is None or wanted not in present:
        steps = ", ".join(map(str, sorted(present)))
        raise RunError(
            f"{run.name} has no checkpoint of step {wanted}; {f'choose {steps}' if steps else 'it has none'}"
        )
    return wanted, present[wanted]


def _knobs_at(run: LiveRun, step: int) -> Iterator[KnobState]:
    """Yield the knobs with what the controller had at a step as their value, and that at the start as their target."""
    initial, values = initial_knobs(run), dict(initial_knobs(run))
    for turn in run.log.turns:
        if turn.step <= step and turn.by not in (MANUAL, REPAIR):
            values[turn.knob] = turn.after
    for state in knob_states(run, run.run.experiment().get("freeze")):
        value = values.get(state.name, state.value)
        yield dataclasses.replace(state, value=value, target=initial.get(state.name, value), manual=None)


def _differs(state: KnobState) -> bool:
    return state.acts and not state.frozen and abs(state.value - state.target) > 1e-3 * abs(state.target)


def _describe_knobs(symptom: str, changes: Sequence[Mapping[str, object]], begin: Mapping[str, float]) -> str:
    if changes:
        texts = [f"{change['knob']} {format_number(_round(float(str(change['to']))))}" for change in changes]
        return f"The first remedy for {symptom_words(symptom)} is filled in: {', '.join(texts)}."
    if begin:
        return "The knobs start at the values of the controller; change them under Other settings, Knobs."
    return "To change knobs, see Other settings, Knobs."


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
