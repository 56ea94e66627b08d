"""What can be explored in a run: the settings that act, its layers, classes and steps. Imports torch."""

from typing import Literal

from equipoise.core.data import DataSpec
from equipoise.inference.run_weights import StepChoice, parse_step, saved_steps
from equipoise.runs.run import Run
from equipoise.studio.exploration_forms import sampling_fields, tabs_of
from equipoise.studio.open_runs import OpenRun

SampleForm = Literal["image", "text", "sequence", "point"]
CAPTIONS = 12


def describe(run: OpenRun) -> dict[str, object]:
    """Return as JSON values what the page shows controls for: see `/api/explore/RUN`."""
    generator, model, spec = run.generator, run.generator.model, run.generator.spec
    has_styles = model.styles is not None
    captions = model.captions
    is_generated = model.source is None
    return {
        "step": generator.step,
        "model": model.name,
        "samples": kind_of(spec),
        "shape": list(spec.shape),
        "space": "w" if has_styles else "z",
        "spaces": (["w", "z"] if has_styles else ["z"]) if is_generated else [],
        "layers": generator.count_layers() if has_styles else 0,
        "tabs": tabs_of(generator),
        "weights": _weights(run),
        "controls": sampling_fields(generator) if is_generated else [],
        "prompt": captions is not None,
        "captions": list(captions.examples[:CAPTIONS]) if captions is not None else [],
        "back": model.reverse is not None,
    }


def _weights(run: OpenRun) -> list[tuple[str, str]]:
    """Return the weights that can be selected: value and text."""
    steps = sorted({*saved_steps(Run(run.folder)), run.generator.step})
    named = [("", "Final weights"), ("best", "Best by the metric"), ("chosen", "Chosen")]
    return named + [(str(step), f"Step {step:,}") for step in steps]


def kind_of(spec: DataSpec) -> SampleForm:
    """Return what kind of samples a run has."""
    if spec.vocabulary is not None:
        return "text"
    return "image" if spec.is_image else "sequence" if spec.is_sequence else "point"


def step_of(value: object) -> StepChoice | None:
    """Return a step from a JSON value. Raises SettingError for one that does not exist."""
    return None if value is None else parse_step(str(value))
