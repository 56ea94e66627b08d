"""HTML page of a run: one file that can be opened from disk, for screens of any size and for print."""

import json
from dataclasses import dataclass
from pathlib import Path

from equipoise.core.printing import printable
from equipoise.errors import RunError, report_command, unwritable
from equipoise.report import film, html, progress_figure
from equipoise.report.data_section import data_section
from equipoise.report.formatting import format_count, format_duration, format_number, one_line, symptom_words
from equipoise.report.interactive import interactive_curves
from equipoise.report.run_history import MetricHistory, RunHistory, read_history, to_mapping, to_number
from equipoise.report.run_summary import plug_name, rerun_command, run_state, summarise_run
from equipoise.report.sample_plots import samples_png
from equipoise.report.samples import Samples, last_samples, representative_samples
from equipoise.runs.artifacts import write_text
from equipoise.runs.run import FIGURES_FOLDER, Run

FILE = "report.html"
TEMPLATE = "report/templates/run.html"
MAX_TEXTS = 32
"""Maximum number of text samples on the page."""
MAX_CHANGES = 500
"""Number of knob changes on the page, the last ones; all of them are in events.jsonl."""


@dataclass(frozen=True)
class LastSamples:
    """The last samples as the page shows them: a picture, texts, or only a caption that says why there are none."""

    caption: str
    png: bytes | None = None
    alt: str = ""
    css_class: str = "samples"
    texts: str = ""


@dataclass(frozen=True)
class EmbeddedFilm:
    """Path of a film relative to the page, and its poster as PNG bytes."""

    path: str
    poster: bytes | None


@dataclass(frozen=True)
class EmbeddedFigure:
    """The progress figure for wide and narrow screens, and a note for each file of samples that it lacks."""

    png: bytes
    narrow: bytes
    alt: str
    caption: str
    notes: tuple[str, ...]


def write_report(run: Run) -> Path:
    """Write the progress figure of a run, then its page; return the path of report.html.

    Raises RunError if the folder is not a run, is damaged, or cannot be written.
    """
    progress_figure.write_progress_figure(run)
    return write_page(run)


def write_page(run: Run) -> Path:
    """Write report.html with the figures and the film in the run folder; return its path.

    The progress figure is drawn first if it does not exist. Raises RunError as :func:`write_report` does.
    """
    history = read_history(run)
    page = html.render(
        TEMPLATE,
        title=printable(run.name),
        state=run_state(history),
        summary=summarise_run(history),
        samples=_last_samples(history),
        key_numbers=_key_numbers(history),
        film=_film(run),
        progress=_progress(history),
        interactive=interactive_curves(history),
        data=data_section(history),
        metrics=_metric_rows(history),
        knobs=_knob_rows(history),
        changes=_change_rows(history),
        findings=_finding_rows(history),
        remedies=_remedy_rows(history),
        manual=_request_rows(history),
        command=rerun_command(history.experiment),
        experiment_json=json.dumps(history.experiment, indent=2, ensure_ascii=False),
        versions=[
            (one_line(name), one_line(value)) for name, value in to_mapping(history.experiment.get("versions")).items()
        ],
    )
    path = run.folder / FILE
    try:
        write_text(path, page)
    except OSError as error:
        raise RunError(unwritable(run.folder, error, then=report_command(run.folder))) from error
    return path


def _last_samples(history: RunHistory) -> LastSamples:
    samples = last_samples(history)
    if samples is None:
        return LastSamples("This run has saved no samples.")
    if samples.texts:
        return _text_samples(samples)
    png = samples_png(samples)
    if png is None:
        return LastSamples(_as_sentence(samples.note))
    data = plug_name(history.experiment, "data") or "the data"
    is_sheet = samples.sheet is not None
    sheet = "Plots of generated sequences" if samples.are_sequences else "Sheet of generated images"
    content = sheet if is_sheet else "Plot of generated samples"
    alt = f"{content}, {samples.description}, trained on {data}"
    caption = f"Generated samples, {samples.description}"
    return LastSamples(caption, png, alt, "samples sheet" if is_sheet and not samples.are_sequences else "samples")


def _text_samples(samples: Samples) -> LastSamples:
    part = f" ({MAX_TEXTS} of {format_count(len(samples.texts))})" if len(samples.texts) > MAX_TEXTS else ""
    lines = "\n".join(one_line(text, 400) for text in samples.texts[:MAX_TEXTS])
    return LastSamples(f"Generated samples, {samples.description}{part}.", texts=lines)


def _key_numbers(history: RunHistory) -> list[tuple[str, str]]:
    started, seconds = history.started, history.seconds
    pairs = [pair for metric in history.metrics() for pair in _metric_numbers(metric)]
    speed = f"{format_number(history.images / seconds)} {history.sample_noun}/s" if seconds > 0 else "unknown"
    pairs += [
        ("Steps", format_count(history.step)),
        (f"{history.sample_noun.capitalize()} seen", format_count(history.images)),
        ("Time", format_duration(seconds)),
        ("Speed", speed),
    ]
    if (cost := history.sampling_cost) is not None:
        pairs.append(("Cost of samples", one_line(str(cost), 120)))
    for name, key in (("Batch size", "batch_size"), ("Precision", "precision")):
        pairs.append((name, str(started.get(key, history.experiment.get(key, "unknown")))))
    parameters = to_mapping(started.get("parameters"))
    return pairs + [
        (f"Parameters, {one_line(name)}", format_count(to_number(value, 0))) for name, value in parameters.items()
    ]


def _metric_numbers(metric: MetricHistory) -> list[tuple[str, str]]:
    name, last, best = one_line(metric.name), metric.last_index, metric.best_index
    if last is None or best is None:
        return [(f"{name}, last", "not a number")]
    return [
        (f"{name}, last", format_number(metric.values[last])),
        (f"{name}, best", f"{format_number(metric.values[best])} at step {format_count(metric.steps[best])}"),
    ]


def _film(run: Run) -> EmbeddedFilm | None:
    """Return the film of the run folder; None without one."""
    if not (run.folder / film.FOLDER / film.FILE).is_file():
        return None
    return EmbeddedFilm(f"{film.FOLDER}/{film.FILE}", film.read_poster(run))


def _progress(history: RunHistory) -> EmbeddedFigure:
    losses = [
        f"{name.removesuffix('.total')} loss {format_number(history.loss(name).last)}" for name in history.loss_names()
    ]
    last_losses = f"; at the end: {', '.join(losses)}" if losses else ""
    resumed = " Dotted vertical lines: the run was resumed." if history.events_of("resumed") else ""
    return EmbeddedFigure(
        png=_progress_png(history.run),
        narrow=progress_figure.narrow_figure(history),
        alt=f"Losses, signals, knobs, metrics and samples over {format_count(history.step)} steps{last_losses}",
        caption=f"D: discriminator, G: generator.{resumed}",
        notes=tuple(_as_sentence(sample_set.note) for sample_set in representative_samples(history) if sample_set.note),
    )


def _progress_png(run: Run) -> bytes:
    path = run.folder / FIGURES_FOLDER / progress_figure.FILE
    try:
        return (path if path.exists() else progress_figure.write_progress_figure(run)).read_bytes()
    except OSError as error:
        raise RunError(
            f"{path} cannot be read ({error.strerror or error}); delete it, and write the report again"
        ) from error


def _metric_rows(history: RunHistory) -> list[tuple[str, ...]]:
    return [
        (
            one_line(metric.name),
            f"{one_line(metric.better)} is better",
            format_count(len(metric.values)),
            "none" if metric.best_index is None else format_number(metric.values[metric.best_index]),
            "none" if metric.last_index is None else format_number(metric.values[metric.last_index]),
            format_count(metric.sample_count),
        )
        for metric in history.metrics()
    ]


def _change_rows(history: RunHistory) -> list[tuple[str, ...]]:
    """Return step, knob, old and new value, source and reason of the last MAX_CHANGES knob changes."""
    lines = history.events_of("turned")[-MAX_CHANGES:]
    return [
        (
            format_count(int(to_number(line.get("step"), 0))),
            one_line(str(line.get("knob"))),
            *(format_number(to_number(line.get(key))) for key in ("from", "to")),
            *(one_line(str(line.get(key, "")), 400) for key in ("by", "why")),
        )
        for line in lines
    ]


def _knob_rows(history: RunHistory) -> list[tuple[str, ...]]:
    return [
        (
            one_line(knob.knob),
            format_number(knob.values[0]),
            format_number(knob.values[-1]),
            f"{format_number(min(knob.values))} to {format_number(max(knob.values))}",
            format_count(len(knob.steps)),
            ", ".join(one_line(source) for source in dict.fromkeys(knob.by)),
            one_line(knob.why, 200) or "not recorded",
        )
        for knob in history.knob_histories()
    ]


def _finding_rows(history: RunHistory) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for period in history.symptom_periods():
        evidence = [f"{one_line(name)} {format_number(to_number(value))}" for name, value in period.evidence.items()]
        steps = format_count(period.start), format_count(period.end)
        rows.append(
            (symptom_words(period.name), *steps, f"{period.severity:.0%}", ", ".join(evidence) or "not recorded")
        )
    return rows


def _remedy_rows(history: RunHistory) -> list[tuple[str, ...]]:
    return [
        (
            format_count(remedy.step),
            symptom_words(remedy.symptom),
            "none" if remedy.restored_step is None else f"to step {format_count(remedy.restored_step)}",
            ", ".join(f"{one_line(name)} {format_number(value)}" for name, value in remedy.overrides.items()) or "none",
            format_count(remedy.until),
        )
        for remedy in history.remedies()
    ]


def _request_rows(history: RunHistory) -> list[tuple[str, ...]]:
    """Return step, request, value, sender and outcome of the last MAX_CHANGES requests of a person."""
    return [
        (
            format_count(int(to_number(line.get("step"), 0))),
            one_line(f"{line.get('action', '')} {line.get('knob') or ''}".strip()),
            format_number(to_number(line.get("value"))) if line.get("value") is not None else "",
            one_line(str(line.get("text") or ""), 400),
            one_line(str(line.get("by") or "")),
            one_line(f"refused: {line['refused']}" if line.get("refused") else "done", 400),
        )
        for line in history.events_of("requested")[-MAX_CHANGES:]
    ]


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
