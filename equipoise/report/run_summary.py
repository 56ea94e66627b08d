"""Summary of a run in one sentence: model, data, duration and ending."""

from collections.abc import Mapping

from equipoise.report.formatting import format_count, format_duration, format_number, one_line
from equipoise.report.run_history import MetricHistory, RunHistory, to_mapping, to_number

ENDINGS: Mapping[str, str] = {
    "steps": "it completed all steps and ended {verdict}",
    "images": "it stopped at its limit of images and ended {verdict}",
    "seconds": "it stopped at its time limit and ended {verdict}",
    "equilibrium": "it stopped at equilibrium, {verdict}: the discriminator could no longer tell real from fake",
    "interrupted": "it was interrupted while {verdict} and can be resumed",
    "diverged": "it was stopped because it diverged",
}
"""Reason for the end of a run -> text; {verdict} is replaced by the verdict."""
UNFINISHED = "it has not finished: it is still running or was terminated"


def plug_name(experiment: Mapping[str, object], key: str) -> str | None:
    """Return the name of an experiment's data, model or controller, stored as a string or as a table with a name."""
    value = experiment.get(key)
    name = to_mapping(value).get("name", to_mapping(value).get(key)) if isinstance(value, Mapping) else value
    return one_line(name) if isinstance(name, str) and name.strip() else None


def format_length(history: RunHistory) -> str:
    """Format the steps done, with the total if the run is not complete: 300 of 1,000 steps."""
    total = to_number(history.started.get("steps"), 0)
    done = format_count(history.step)
    return f"{done} of {format_count(total)} steps" if total > history.step else f"{done} steps"


def run_state(history: RunHistory) -> str:
    """Return the verdict of a finished run; "unfinished" for any other."""
    finished = history.finished
    return one_line(finished.get("verdict", "finished")) if finished else "unfinished"


def summarise_run(history: RunHistory) -> str:
    """Describe model, data, controller, duration, ending and best metric value of a run in one sentence."""
    model, data, controller = (plug_name(history.experiment, key) for key in ("model", "data", "controller"))
    subject = f"The model {model}" if model else "A model"
    on_data = f" on {data}" if data else ""
    with_controller = f" with the {controller} controller" if controller else ""
    amount = f"{format_count(history.images)} {history.sample_noun}, {format_duration(history.seconds)}"
    trained = f"{subject} was trained{on_data}{with_controller} for {format_length(history)} ({amount})"
    best = next((text for text in map(format_best, history.metrics()) if text), None)
    return f"{trained}; {_ending(history)}" + (f"; {best}." if best else ".")


def format_best(metric: MetricHistory) -> str | None:
    """Format the best value of a metric; None if no value is finite."""
    if metric.best_index is None:
        return None
    value, step = metric.values[metric.best_index], metric.steps[metric.best_index]
    return f"its best {one_line(metric.name)} was {format_number(value)}, after step {format_count(step)}"


def _ending(history: RunHistory) -> str:
    finished = history.finished
    if finished is None:
        return UNFINISHED
    reason = str(finished.get("reason", ""))
    ending = ENDINGS.get(reason, f"it ended {{verdict}} ({one_line(reason)})")
    return ending.replace("{verdict}", run_state(history))
