"""Migration of run folders written by earlier versions: pure functions on JSON values, one table per format step.

Files are never rewritten: they are migrated each time they are read. The log may hold lines of several formats, because
a run can be resumed by a newer version, so lines are migrated by their content.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

FORMAT = 2
"""The current format of experiment.json and of experiments in TOML."""

Names = Mapping[str, str]
"""Old name -> new name."""


@dataclass(frozen=True, slots=True)
class FormatStep:
    """Changes from one format to the next. Each table maps old names to new names.

    `settings`: keys of an experiment. `options`: options of a plug, by (key of the experiment, name of the plug).
    `events`: fields of a log line, by event. `checkpoint`: keys of state.json, as dotted paths -> new name of the
    last part; the state of the pilot is migrated by pilot/state.py. `verdicts`: values of a verdict, wherever stored.
    """

    settings: Names = field(default_factory=dict)
    options: Mapping[tuple[str, str], Names] = field(default_factory=dict)
    events: Mapping[str, Names] = field(default_factory=dict)
    checkpoint: Names = field(default_factory=dict)
    verdicts: Names = field(default_factory=dict)


STEPS: Mapping[int, FormatStep] = {
    2: FormatStep(
        settings={"gan": "model", "untouched": "freeze"},
        options={
            ("model", "seqgan"): {
                "longest": "max_grad_norm",
                "judge_embedding": "discriminator_embedding",
                "judge_dropout": "discriminator_dropout",
                "judging_steps": "discriminator_pretraining_steps",
            },
            ("model", "textgan"): {"longest": "max_grad_norm", "judge_embedding": "discriminator_embedding"},
        },
        events={"started": {"taken_over": "transferred", "begins": "adversarial_start"}},
        checkpoint={
            "unlearnt": "rolled_back_images",
            "sound": "healthy_steps",
            "pilot.history.measured": "metrics",
            "pilot.history.levels.overwhelmed_since": "discriminator_won_since",
        },
        verdicts={"ailing": "unhealthy"},
    ),
}
"""Format -> changes from the format before it."""


def migrate_experiment(values: Mapping[str, object]) -> dict[str, object]:
    """Return an experiment in the current format. Without `format`, as in most TOML files, old keys are accepted too.

    A key that exists under both its old and its new name is not renamed, so that the old one is reported as unknown.
    """
    result = dict(values)
    version = result.get("format", 1)
    for target, step in STEPS.items():
        if not isinstance(version, int) or version >= target:
            continue
        result = rename_keys(result, step.settings)
        for (key, plug), names in step.options.items():
            result = _rename_options(result, key, plug, names)
    if isinstance(version, int) and version < FORMAT and "format" in result:
        result["format"] = FORMAT
    return result


def describe_newer_format(values: Mapping[str, object], source: str) -> str:
    """Return why this version cannot read an experiment, and how to update, in one line; "" if it can.

    `source`: the file that the values are from. Call it first: in a newer format, names have other meanings.
    """
    version = values.get("format", FORMAT)
    if type(version) is not int:
        return f"{source} has the format {version!r}, which is not a whole number; restore the original file"
    if version <= FORMAT:
        return ""
    versions = values.get("versions")
    writer = versions.get("equipoise") if isinstance(versions, Mapping) else None
    written = f", and was written by equipoise {writer}" if isinstance(writer, str) else ""
    return (
        f"{source} has format {version}, newer than this version reads ({FORMAT}){written}; update with: "
        "pip install --upgrade equipoise"
    )


def migrate_event(line: Mapping[str, object]) -> dict[str, object]:
    """Return a line of events.jsonl in the current format."""
    result = dict(line)
    for step in STEPS.values():
        result = rename_keys(result, step.events.get(str(result.get("event")), {}))
        result = _rename_verdict(result, step.verdicts)
    return result


def migrate_checkpoint(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values of a checkpoint's state.json in the current format."""
    result = dict(values)
    for step in STEPS.values():
        for path, new in step.checkpoint.items():
            result = _rename_path(result, path.split("."), new)
        result = _rename_verdict(result, step.verdicts)
    return result


def rename_keys(values: Mapping[str, object], names: Names) -> dict[str, object]:
    """Rename keys, keeping their order; a key whose new name exists already is not renamed."""
    return {names[key] if key in names and names[key] not in values else key: item for key, item in values.items()}


def _rename_path(values: Mapping[str, object], path: list[str], new: str) -> dict[str, object]:
    first, *rest = path
    if not rest:
        return rename_keys(values, {first: new})
    inner = values.get(first)
    return {**values, first: _rename_path(inner, rest, new)} if isinstance(inner, Mapping) else dict(values)


def _rename_options(values: Mapping[str, object], key: str, plug: str, names: Names) -> dict[str, object]:
    """Rename options of the plug under a key: in its own table, in `options`, or next to its name, as in TOML."""
    spec = values.get(key)
    if not isinstance(spec, Mapping) or str(spec.get("name")).partition(":")[0] != plug:
        return dict(values)
    options = spec.get("options")
    spec = {**spec, "options": rename_keys(options, names)} if isinstance(options, Mapping) else spec
    return {**values, key: rename_keys(spec, names)}


def _rename_verdict(values: Mapping[str, object], verdicts: Names) -> dict[str, object]:
    verdict = values.get("verdict")
    return (
        {**values, "verdict": verdicts[verdict]} if isinstance(verdict, str) and verdict in verdicts else dict(values)
    )
