"""The page of a run: one file that opens from disk, with everything in it but the film, on a phone, a desk, paper."""

import json
from pathlib import Path

from equipoise.errors import RunError, unwritable
from equipoise.report import figures, film, markup, pictures
from equipoise.report import history as histories
from equipoise.report import samples as sampling
from equipoise.report.history import History, Measured, number, table
from equipoise.report.markup import Markup
from equipoise.report.rerun import command
from equipoise.report.samples import Samples
from equipoise.report.stylesheet import STYLE
from equipoise.report.words import count, duration, name_of, plain, sentence, short, state
from equipoise.runs import run_folder as runs
from equipoise.runs.run_folder import Run

FILE = "report.html"
KNOWN_STATES = ("healthy", "unhealthy", "diverged")
TEXTS = 32
"""Samples that are text, of which the page shows so many."""


def make(run: Run) -> Path:
    """Draw the figures of a run, then write its page; returns the path of report.html.

    Raises RunError if the folder is no run, is damaged, or cannot be written.
    """
    figures.training_progress(run)
    return write(run)


def write(run: Run) -> Path:
    """Write report.html with the figures and the film that the run folder has; returns its path.

    The progress figure is drawn if it is not there yet. Raises RunError as :func:`make` does.
    """
    history = histories.read(run)
    page = markup.document(f"{run.name}: report of a training run", STYLE, _body(history, _progress(run)))
    path = run.folder / FILE
    try:
        runs.write_text(path, page)
    except OSError as error:
        raise RunError(unwritable(run.folder, error)) from error
    return path


def _progress(run: Run) -> bytes:
    path = run.folder / runs.FIGURES / figures.FILE
    try:
        return (path if path.exists() else figures.training_progress(run)).read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}; delete it") from error


def _body(history: History, progress: bytes) -> Markup:
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


def _header(history: History) -> Markup:
    how = state(history)
    kind = f"state {how}" if how in KNOWN_STATES else "state"
    return Markup(
        f"<header>\n<h1>{markup.text(history.run.name)}</h1>\n{markup.paragraph(how, kind)}\n"
        f"{markup.paragraph(sentence(history), 'lead')}\n</header>"
    )


def _samples(history: History) -> Markup:
    last = sampling.final(history)
    if last is None:
        return markup.paragraph("No samples were taken in this run.")
    if last.texts:
        return _texts(last)
    picture = pictures.as_png(last)
    if picture is None:
        return markup.paragraph(f"{last.note[:1].upper()}{last.note[1:]}.", "note")
    data = name_of(history.experiment, "data") or "the data"
    what = "A sheet of images" if last.sheet is not None else "A plot of samples"
    alternative = f"{what} that the generator made after {last.moment}, having trained on {data}"
    kind = "samples sheet" if last.sheet is not None else "samples"
    return markup.picture(picture, alternative, f"What the generator makes, {last.moment}", kind)


def _texts(samples: Samples) -> Markup:
    """The first samples that are text, a line each."""
    said = f"What the generator writes, {samples.moment}: {TEXTS} of {count(len(samples.texts))}."
    said = said if len(samples.texts) > TEXTS else f"What the generator writes, {samples.moment}."
    lines = "\n".join(plain(text, 400) for text in samples.texts[:TEXTS])
    return markup.together((markup.code(lines, "samples"), markup.paragraph(said, "note")))


def _numbers(history: History) -> Markup:
    started, seconds = history.started, history.seconds
    pairs: list[tuple[str, object]] = []
    for measured in history.measured():
        pairs += _of_metric(measured)
    pairs += [
        ("Steps", count(history.step)),
        (f"{history.noun.capitalize()} seen", count(history.images)),
        ("Time", duration(seconds)),
        ("Speed", f"{short(history.images / seconds)} {history.noun}/s" if seconds > 0 else "not known"),
        ("Batch size", started.get("batch_size", history.experiment.get("batch_size", "not known"))),
        ("Precision", started.get("precision", history.experiment.get("precision", "not known"))),
    ]
    parameters = table(started.get("parameters"))
    pairs += [(f"Parameters, {plain(name)}", count(number(value, 0))) for name, value in parameters.items()]
    return markup.numbers(pairs)


def _of_metric(measured: Measured) -> list[tuple[str, object]]:
    name = plain(measured.metric)
    if measured.last is None or measured.best is None:
        return [(f"{name}, last", "not a number")]
    return [
        (f"{name}, last", short(measured.values[measured.last])),
        (f"{name}, best", f"{short(measured.values[measured.best])} at step {count(measured.steps[measured.best])}"),
    ]


def _drawn(history: History, progress: bytes) -> Markup:
    said = [f"{name.removesuffix('.total')} loss {short(history.loss(name).last)}" for name in history.losses()]
    last = f"; at the end: {', '.join(said)}" if said else ""
    alternative = f"Curves over {count(history.step)} steps of losses, signals, knobs and metrics, and samples{last}"
    missing = [one.note for one in sampling.chosen(history) if one.note]
    notes = [markup.paragraph(f"{note[:1].upper()}{note[1:]}.", "note") for note in missing]
    resumed = " Dotted upright lines: the run was resumed there." if history.named("resumed") else ""
    caption = f"D: discriminator, G: generator.{resumed}"
    picture = markup.picture(progress, alternative, caption, "progress", figures.narrow(history))
    return markup.section("How it went", _film(history.run), picture, *notes)


def _film(run: Run) -> Markup | None:
    """The film, if there is one; its poster is in the page, the film itself stays a file of its own."""
    if not (run.folder / film.FOLDER / film.FILE).is_file():
        return None
    path = f"{film.FOLDER}/{film.FILE}"
    alone = "Where the page goes without it, its last picture stands here."
    caption = Markup(f"The run as a film: {markup.link(path)}, a file beside this page. {alone}")
    alternative = "A film of the run: its samples over time, and the curves beside them"
    return markup.film(path, film.poster(run), alternative, caption)


def _metrics(history: History) -> Markup:
    lines = [
        (
            plain(one.metric),
            f"{plain(one.better)} is better",
            count(len(one.values)),
            "none" if one.best is None else short(one.values[one.best]),
            "none" if one.last is None else short(one.values[one.last]),
            count(one.count),
        )
        for one in history.measured()
    ]
    headings = ("Metric", "Direction", "Times measured", "Best", "Last", "Samples each time")
    return (
        markup.section("What was measured, against held-out data", markup.rows(headings, lines)) if lines else Markup()
    )


def _turned(history: History) -> Markup:
    lines = [
        (
            plain(one.knob),
            short(one.values[0]),
            short(one.values[-1]),
            f"{short(min(one.values))} to {short(max(one.values))}",
            count(len(one.steps)),
            ", ".join(plain(who) for who in dict.fromkeys(one.by)),
            plain(one.why, 200) or "not said",
        )
        for one in history.turns()
    ]
    if not lines:
        return markup.paragraph("Nothing: every knob stayed where it was set.")
    return markup.rows(("Knob", "From", "To", "Between", "Turns", "By", "Why, the last time"), lines)


def _found(history: History) -> Markup:
    result = history.symptoms()
    lines = [
        (
            plain(one.name.replace("_", " ")),
            count(one.since),
            count(one.until),
            f"{one.severity:.0%}",
            ", ".join(f"{plain(name)} {short(number(value))}" for name, value in one.evidence.items()) or "not said",
        )
        for one in result
    ]
    headings = ("Finding", "Since step", "Until step", "Severity at worst", "Evidence, the last time")
    return markup.section("What was found", markup.rows(headings, lines)) if lines else Markup()


def _remedied(history: History) -> Markup:
    lines = [
        (
            count(one.step),
            plain(one.symptom.replace("_", " ")),
            "kept" if one.restored is None else f"those of step {count(one.restored)}",
            ", ".join(f"{plain(name)} {short(value)}" for name, value in one.held.items()) or "none",
            count(one.until),
        )
        for one in history.remedies()
    ]
    headings = ("Step", "Finding", "Weights", "Knobs held", "Until step")
    return markup.section("What was done about it", markup.rows(headings, lines)) if lines else Markup()


def _again(history: History) -> Markup:
    return markup.section(
        "To run it again",
        markup.code(command(history.experiment), "command line"),
        markup.paragraph(
            "Tables among the options have no flag. All settings stand in experiment.json, which can be run as it is, "
            "too: equipoise train --experiment experiment.json"
        ),
        markup.folded(
            "experiment.json",
            markup.code(json.dumps(history.experiment, indent=2, ensure_ascii=False), "experiment.json"),
        ),
    )


def _versions(history: History) -> Markup:
    versions = table(history.experiment.get("versions"))
    lines = [(plain(name), plain(value)) for name, value in versions.items()]
    return markup.section("Versions", markup.rows(("Software", "Version"), lines)) if lines else Markup()
