"""The page of a run: one file that opens from disk, with everything in it but the film, on a phone, a desk, paper."""

import json
from pathlib import Path

from equipoise.errors import RunError, unwritable
from equipoise.report import film, markup
from equipoise.report import sample_plots
from equipoise.report import progress_figure
from equipoise.report import run_history as histories
from equipoise.report import samples as sampling
from equipoise.report.run_history import RunHistory, MetricHistory, to_number, to_mapping
from equipoise.report.markup import Markup
from equipoise.report.rerun_command import rerun_command
from equipoise.report.samples import Samples
from equipoise.report.stylesheet import STYLE
from equipoise.report.formatting import format_count, format_duration, plug_name, one_line, summarise_run, format_number, run_state
from equipoise.runs import run_folder as runs
from equipoise.runs.run_folder import Run

FILE = "report.html"
KNOWN_STATES = ("healthy", "unhealthy", "diverged")
TEXTS = 32
"""Samples that are text, of which the page shows so many."""


def write_report(run: Run) -> Path:
    """Draw the figures of a run, then write its page; returns the path of report.html.

    Raises RunError if the folder is no run, is damaged, or cannot be written.
    """
    progress_figure.write_progress_figure(run)
    return write_page(run)


def write_page(run: Run) -> Path:
    """Write report.html with the figures and the film that the run folder has; returns its path.

    The progress figure is drawn if it is not there yet. Raises RunError as :func:`make` does.
    """
    history = histories.read_history(run)
    page = markup.document(f"{run.name}: report of a training run", STYLE, _body(history, _progress(run)))
    path = run.folder / FILE
    try:
        runs.write_text(path, page)
    except OSError as error:
        raise RunError(unwritable(run.folder, error)) from error
    return path


def _progress(run: Run) -> bytes:
    path = run.folder / runs.FIGURES / progress_figure.FILE
    try:
        return (path if path.exists() else progress_figure.write_progress_figure(run)).read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}; delete it") from error


def _body(history: RunHistory, progress: bytes) -> Markup:
    return markup.together(
        (
            _header(history),
            Markup("<main>"),
            _samples(history),
            markup.section("Key numbers", _numbers(history)),
            _drawn(history, progress),
            _metrics(history),
            markup.section("What was turned", _turned(history)),
            _found(history),
            _remedied(history),
            _again(history),
            _versions(history),
            Markup("</main>"),
            Markup("<footer>Written by Equipoise from the run folder alone.</footer>"),
        )
    )


def _header(history: RunHistory) -> Markup:
    how = run_state(history)
    kind = f"state {how}" if how in KNOWN_STATES else "state"
    return Markup(
        f"<header>\n<h1>{markup.text(history.run.name)}</h1>\n{markup.paragraph(how, kind)}\n"
        f"{markup.paragraph(summarise_run(history), 'lead')}\n</header>"
    )


def _samples(history: RunHistory) -> Markup:
    last = sampling.last_samples(history)
    if last is None:
        return markup.paragraph("No samples were taken in this run.")
    if last.texts:
        return _texts(last)
    picture = sample_plots.samples_png(last)
    if picture is None:
        return markup.paragraph(f"{last.note[:1].upper()}{last.note[1:]}.", "note")
    data = plug_name(history.experiment, "data") or "the data"
    what = "A sheet of images" if last.sheet is not None else "A plot of samples"
    alternative = f"{what} that the generator made after {last.moment}, having trained on {data}"
    kind = "samples sheet" if last.sheet is not None else "samples"
    return markup.picture(picture, alternative, f"What the generator makes, {last.moment}", kind)


def _texts(samples: Samples) -> Markup:
    """The first samples that are text, a line each."""
    said = f"What the generator writes, {samples.moment}: {TEXTS} of {format_count(len(samples.texts))}."
    said = said if len(samples.texts) > TEXTS else f"What the generator writes, {samples.moment}."
    lines = "\n".join(one_line(text, 400) for text in samples.texts[:TEXTS])
    return markup.together((markup.code(lines, "samples"), markup.paragraph(said, "note")))


def _numbers(history: RunHistory) -> Markup:
    started, seconds = history.started, history.seconds
    pairs: list[tuple[str, object]] = []
    for measured in history.measured():
        pairs += _of_metric(measured)
    pairs += [
        ("Steps", format_count(history.step)),
        (f"{history.noun.capitalize()} seen", format_count(history.images)),
        ("Time", format_duration(seconds)),
        ("Speed", f"{format_number(history.images / seconds)} {history.noun}/s" if seconds > 0 else "not known"),
        ("Batch size", started.get("batch_size", history.experiment.get("batch_size", "not known"))),
        ("Precision", started.get("precision", history.experiment.get("precision", "not known"))),
    ]
    parameters = to_mapping(started.get("parameters"))
    pairs += [(f"Parameters, {one_line(name)}", format_count(to_number(value, 0))) for name, value in parameters.items()]
    return markup.numbers(pairs)


def _of_metric(measured: MetricHistory) -> list[tuple[str, object]]:
    name = one_line(measured.metric)
    if measured.last is None or measured.best is None:
        return [(f"{name}, last", "not a number")]
    return [
        (f"{name}, last", format_number(measured.values[measured.last])),
        (f"{name}, best", f"{format_number(measured.values[measured.best])} at step {format_count(measured.steps[measured.best])}"),
    ]


def _drawn(history: RunHistory, progress: bytes) -> Markup:
    said = [f"{name.removesuffix('.total')} loss {format_number(history.loss(name).last)}" for name in history.losses()]
    last = f"; at the end: {', '.join(said)}" if said else ""
    alternative = f"Curves over {format_count(history.step)} steps of losses, signals, knobs and metrics, and samples{last}"
    missing = [one.note for one in sampling.representative_samples(history) if one.note]
    notes = [markup.paragraph(f"{note[:1].upper()}{note[1:]}.", "note") for note in missing]
    resumed = " Dotted upright lines: the run was resumed there." if history.named("resumed") else ""
    caption = f"D: discriminator, G: generator.{resumed}"
    picture = markup.picture(progress, alternative, caption, "progress", progress_figure.narrow_figure(history))
    return markup.section("How it went", _film(history.run), picture, *notes)


def _film(run: Run) -> Markup | None:
    """The film, if there is one; its poster is in the page, the film itself stays a file of its own."""
    if not (run.folder / film.FOLDER / film.FILE).is_file():
        return None
    path = f"{film.FOLDER}/{film.FILE}"
    alone = "Where the page goes without it, its last picture stands here."
    caption = Markup(f"The run as a film: {markup.link(path)}, a file beside this page. {alone}")
    alternative = "A film of the run: its samples over time, and the curves beside them"
    return markup.film(path, film.read_poster(run), alternative, caption)


def _metrics(history: RunHistory) -> Markup:
    lines = [
        (
            one_line(one.metric),
            f"{one_line(one.better)} is better",
            format_count(len(one.values)),
            "none" if one.best is None else format_number(one.values[one.best]),
            "none" if one.last is None else format_number(one.values[one.last]),
            format_count(one.count),
        )
        for one in history.measured()
    ]
    headings = ("Metric", "Direction", "Times measured", "Best", "Last", "Samples each time")
    return (
        markup.section("What was measured, against held-out data", markup.rows(headings, lines)) if lines else Markup()
    )


def _turned(history: RunHistory) -> Markup:
    lines = [
        (
            one_line(one.knob),
            format_number(one.values[0]),
            format_number(one.values[-1]),
            f"{format_number(min(one.values))} to {format_number(max(one.values))}",
            format_count(len(one.steps)),
            ", ".join(one_line(who) for who in dict.fromkeys(one.by)),
            one_line(one.why, 200) or "not said",
        )
        for one in history.turns()
    ]
    if not lines:
        return markup.paragraph("Nothing: every knob stayed where it was set.")
    return markup.rows(("Knob", "From", "To", "Between", "Turns", "By", "Why, the last time"), lines)


def _found(history: RunHistory) -> Markup:
    result = history.symptoms()
    lines = [
        (
            one_line(one.name.replace("_", " ")),
            format_count(one.since),
            format_count(one.until),
            f"{one.severity:.0%}",
            ", ".join(f"{one_line(name)} {format_number(to_number(value))}" for name, value in one.evidence.items()) or "not said",
        )
        for one in result
    ]
    headings = ("Finding", "Since step", "Until step", "Severity at worst", "Evidence, the last time")
    return markup.section("What was found", markup.rows(headings, lines)) if lines else Markup()


def _remedied(history: RunHistory) -> Markup:
    lines = [
        (
            format_count(one.step),
            one_line(one.symptom.replace("_", " ")),
            "kept" if one.restored is None else f"those of step {format_count(one.restored)}",
            ", ".join(f"{one_line(name)} {format_number(value)}" for name, value in one.held.items()) or "none",
            format_count(one.until),
        )
        for one in history.remedies()
    ]
    headings = ("Step", "Finding", "Weights", "Knobs held", "Until step")
    return markup.section("What was done about it", markup.rows(headings, lines)) if lines else Markup()


def _again(history: RunHistory) -> Markup:
    return markup.section(
        "To run it again",
        markup.code(rerun_command(history.experiment), "command line"),
        markup.paragraph(
            "Tables among the options have no flag. All settings stand in experiment.json, which can be run as it is, "
            "too: equipoise train --experiment experiment.json"
        ),
        markup.folded(
            "experiment.json",
            markup.code(json.dumps(history.experiment, indent=2, ensure_ascii=False), "experiment.json"),
        ),
    )


def _versions(history: RunHistory) -> Markup:
    versions = to_mapping(history.experiment.get("versions"))
    lines = [(one_line(name), one_line(value)) for name, value in versions.items()]
    return markup.section("Versions", markup.rows(("Software", "Version"), lines)) if lines else Markup()
