"""Description of the samples and the reals of an evaluation: for the protocol, and as notes for the user."""

from typing import Any

from equipoise.core.data import Split
from equipoise.core.metric import describe_spec
from equipoise.evaluation.subject import EvaluationData

TRANSPARENCY_NOTE = (
    "transparency: networks that see colour compare the images on mid grey; pixels are compared with their opacity"
)
OTHER_DATA_NOTE = "copies are searched for in the data that the run was trained on"


def format_notes(data: EvaluationData) -> tuple[str, ...]:
    """Return notes on how samples and reals were read, for the user."""
    context, count = data.context, len(data.reals)
    notes: list[str] = []
    sides = {"samples": context.samples, "reals": context.reals}
    for name, opened in sides.items():
        if opened is not None and opened.is_whole:
            notes += (f"{name}: {note}" for note in opened.notes)
    if context.reals.is_whole and context.data.spec.is_image:
        options = {name: getattr(context.data, name, None) for name in ("fit", "background")}
        listed = ", ".join(f"{name} = {value}" for name, value in options.items() if value)
        notes.append(f"compared as {describe_spec(context.data.spec)}" + f" ({listed})" * bool(listed))
    if context.data.spec.is_image and context.data.spec.shape[0] == 4:
        notes.append(TRANSPARENCY_NOTE)
    source: Split = "train" if data.split == "all" else data.split
    available = context.data.count(source)
    if context.reals.is_whole and available is not None and count < available:
        reason = "--count" if context.request.count else "they need less memory"
        notes.append(f"{count:,} of {available:,} reals are used ({reason})")
    if data.split == "train" and context.request.split == "held_out":
        notes.append(
            f"only {context.data.count('held_out')} held-out reals: training reals are used instead, so memorised "
            "samples score well"
        )
    if context.separate_training_data is not None:
        notes.append(OTHER_DATA_NOTE)
        if data.trained_on:
            notes.append(
                f"{data.trained_on:,} of {count:,} reals are training data of the run, so memorised samples score "
                "well; without --against, held-out ones are used"
            )
    return tuple(notes)


def describe_data(data: EvaluationData) -> dict[str, Any]:
    """Return a description of the samples and the reals, as JSON values."""
    plug = data.context.plug
    return {
        "samples": {**data.sample_set.origin, "count": len(data.sample_set.samples)},
        "reals": {
            "data": plug.name,
            "path": data.context.request.against if data.context.reals.is_whole else None,
            "options": dict(plug.options),
            "split": data.split,
            "count": len(data.reals),
            "trained_on": data.trained_on,
        },
        "seed": data.context.request.seed,
        "notes": list(format_notes(data)),
    }
