"""What `equipoise inspect` prints and draws: one section per question about the data."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.core.printing import agree, format_count, format_more, format_names, printable

if TYPE_CHECKING:
    from equipoise.core.inspection import Inspection
    from equipoise.evaluation.image_summary import ImageSummary
    from equipoise.evaluation.value_summary import SampleSummary, ValueSummary
    from equipoise.report.contact_sheet import ImageSection

MAX_LISTED = 5
"""Largest number of files, groups or classes that a line lists."""
FEW_IMAGES = 1000
"""Number of training images below which a discriminator memorises them within a usual run."""
FEW_PER_CLASS = 10
SPREAD, PER_CLASS = 48, 12
"""Numbers of images on the contact sheet: spread over the set, and of each class."""
MAX_CLASSES = 6

Advice = Mapping[str, object]


def format_image_page(
    name: str, summary: "ImageSummary", inspection: "Inspection", suggestion: Advice, sheet: Path | None
) -> str:
    """Return the page on a set of images."""
    sections = {
        "images": list(_file_lines(summary)),
        "sizes": list(_size_lines(summary, inspection)),
        "notes": list(inspection.notes),
        "splits": list(_split_lines(summary)),
        "classes": list(_class_lines(summary)),
        "copies": list(_copy_lines(summary)),
        "unusual": list(_unusual_lines(summary)),
        "training": list(_training_lines(suggestion, summary)),
    }
    end = [f"contact sheet: {sheet}"] if sheet else ["draw the images with --out sheet.png"]
    return _format_page(name, sections, end)


def format_sample_page(
    name: str, reader: str, summary: "SampleSummary", notes: Sequence[str], suggestion: Advice
) -> str:
    """Return the page on data that are not images."""
    held_out = "" if summary.held_out is None else f", {summary.held_out:,} held out"
    train = "unlimited" if summary.train is None else f"{summary.train:,}"
    shape = " x ".join(map(str, summary.shape))
    sections = {
        "samples": [f"{train} for training{held_out}, each {shape}; read by {reader}"],
        "values": [_value_line(column, summary.measured) for column in summary.values],
        "words": [f"{summary.words:,} different words"] if summary.words is not None else [],
        "classes": [", ".join(map(printable, summary.classes))] if summary.classes else [],
        "notes": list(notes),
        "training": list(_training_lines(suggestion)),
    }
    return _format_page(name, sections, [])


def sheet_sections(inspection: "Inspection", summary: "ImageSummary") -> "list[ImageSection]":
    """Return the sections of the contact sheet: images spread over the set, unusual ones, classes, copies, leaks."""
    from equipoise.report.contact_sheet import ImageSection

    places = {image.path: place for place, image in enumerate(inspection.images)}
    step = max(1, -(-len(places) // SPREAD))
    paths = [image.path for image in inspection.images]
    groups: dict[str, list[tuple[str, str]]] = {
        "Spread over the set": [(path, path) for path in paths[::step]],
        "Most unusual": [(image.path, f"{image.ratio:.1f} {image.path}") for image in summary.unusual],
    }
    for label in sorted(summary.classes, key=lambda label: -summary.classes[label])[:MAX_CLASSES]:
        own = [image.path for image in inspection.images if image.label == label]
        heading = f"{printable(label)}: {len(own):,}"
        groups[heading] = [(path, path) for path in own[:: max(1, -(-len(own) // PER_CLASS))]]
    pairs = [path for group in (*summary.copies, *summary.near_copies)[:PER_CLASS] for path in group[:2]]
    groups["Copies, in pairs"] = [(path, path) for path in pairs]
    leaks = [path for leak in summary.leaks[:PER_CLASS] for path in (leak.first, leak.second)]
    groups["The same in two splits, in pairs"] = [(path, path) for path in leaks]
    return [
        ImageSection(
            heading,
            inspection.pixels([places[path] for path, _ in items]).numpy(),
            [printable(text) for _, text in items],
        )
        for heading, items in groups.items()
        if items
    ]


def _format_page(name: str, sections: Mapping[str, Sequence[str]], end: Sequence[str]) -> str:
    """Return sections as lines with their titles on the left; empty ones are omitted."""
    shown = {title: lines for title, lines in sections.items() if lines}
    width = max(map(len, shown)) + 2
    body = [
        f"{'' if index else title:{width}}{line}" for title, lines in shown.items() for index, line in enumerate(lines)
    ]
    return "\n".join([printable(name), *body, *(["", *end] if end else [])])


def _file_lines(summary: "ImageSummary") -> Iterator[str]:
    kinds = ", ".join(f"{count:,} {kind or 'items of an array or table'}" for kind, count in summary.kinds.items())
    deep = f"; {summary.deep:,} of more than 8 bits" if summary.deep else ""
    yield f"{summary.images:,}: {kinds}{deep}; {_bytes(summary.bytes)}"
    if summary.damaged:
        yield f"{len(summary.damaged):,} damaged: {_reasons(summary.damaged)}"
    if summary.left_out:
        yield f"{len(summary.left_out):,} other files: {_reasons(summary.left_out)}"


def _size_lines(summary: "ImageSummary", inspection: "Inspection") -> Iterator[str]:
    if not summary.sizes:
        return
    listed = ", ".join(f"{width} x {height} ({count:,})" for (width, height), count in list(summary.sizes.items())[:3])
    more = f" and {len(summary.sizes) - 3:,} others" if len(summary.sizes) > 3 else ""
    yield f"{listed}{more}"
    low, middle, high = summary.aspects
    if low != high:
        yield f"width / height from {low:.2f} to {high:.2f}, median {middle:.2f}"
    sides = inspection.sides
    shape = "not square" if sides.width == sides.height else f"not of the shape {sides.text}"
    if summary.cropped and inspection.fit == "crop":
        yield (
            f"{summary.cropped:,} are {shape}: the centre crop removes {summary.crop_loss:.0%} of each on average, at "
            f"most {summary.largest_crop_loss:.0%} ({printable(summary.largest_crop_loss_path)}); --option "
            "data.fit=pad keeps all"
        )
    numbers = ((summary.shrunk, "shrunk"), (summary.enlarged, "enlarged"))
    conversions = ", ".join(f"{number:,} {verb}" for number, verb in numbers if number) or "as they are"
    yield f"trained at {sides.text} pixels: {conversions}; --image-size changes it"


def _split_lines(summary: "ImageSummary") -> Iterator[str]:
    if summary.splits:
        yield ", ".join(f"{name} {count:,}" for name, count in summary.splits.items())
    if summary.leaks:
        pairs = format_names(
            [f"{leak.second} {'=' if leak.exact else 'is nearly'} {leak.first}" for leak in summary.leaks], MAX_LISTED
        )
        count = len(summary.leaks)
        verb = agree(count, "is", "are")
        yield f"leaks: {format_count(count, 'image')} {verb} also in another split: {pairs}; remove them"
    elif len(summary.splits) > 1:
        yield "no image is in two splits"


def _class_lines(summary: "ImageSummary") -> Iterator[str]:
    classes = sorted(summary.classes.items(), key=lambda item: -item[1])
    if not classes:
        return
    listed = format_names([f"{name} {count:,}" for name, count in classes], 2 * MAX_LISTED)
    yield f"{len(classes):,}: {listed}"
    rare = [name for name, count in classes if count < FEW_PER_CLASS]
    if rare:
        yield f"fewer than {FEW_PER_CLASS} images, too few to learn: {format_names(rare, MAX_LISTED)}"


def _copy_lines(summary: "ImageSummary") -> Iterator[str]:
    for groups, what in ((summary.copies, "of equal pixels"), (summary.near_copies, "of nearly identical images")):
        if groups:
            number = sum(len(group) - 1 for group in groups)
            listed = "; ".join(" = ".join(map(printable, group[:3])) for group in groups[:3])
            count = format_count(len(groups), "group")
            yield f"{number:,} surplus in {count} {what}: {listed}{format_more(len(groups) - 3)}"


def _unusual_lines(summary: "ImageSummary") -> Iterator[str]:
    if summary.unusual:
        listed = format_names([f"{image.path} ({image.ratio:.1f})" for image in summary.unusual], MAX_LISTED)
        yield f"far from all other images, times the usual distance: {listed}"


def _training_lines(suggestion: Advice, summary: "ImageSummary | None" = None) -> Iterator[str]:
    """Yield what training without further flags does, why, how long it takes, and the command."""
    from equipoise.report.formatting import format_duration

    if problem := suggestion.get("problem"):
        yield f"would be refused: {problem}"
        return
    train, batch_size, seconds = suggestion["train"], suggestion["batch_size"], suggestion["seconds"]
    duration = f", about {format_duration(seconds)} on this machine" if isinstance(seconds, float) else ""
    yield (
        f"{suggestion['model']} with the controller {suggestion['controller']}: {suggestion['steps']:,} steps of "
        f"{batch_size} samples{duration}"
    )
    metric = suggestion["metric"]
    yield f"metric {metric}" if metric else "no metric: too few samples are held out to measure one"
    if isinstance(train, int) and isinstance(batch_size, int) and batch_size >= train:
        yield f"the batch is the whole set of {train:,} training samples"
    if summary is not None and isinstance(train, int) and train < FEW_IMAGES:
        yield (
            f"{train:,} training images are few, and a discriminator memorises them: --controller ada augments them, "
            "--option data.flips=true adds mirror images if these look natural"
        )
    yield f"command: {suggestion['command']}"


def _value_line(column: "ValueSummary", measured: int) -> str:
    name = f"{printable(column.name)}: " if column.name else ""
    return (
        f"{name}from {column.low:.4g} to {column.high:.4g}, mean {column.mean:.4g}, standard deviation "
        f"{column.deviation:.4g} ({measured:,} samples)"
    )


def _reasons(reasons: Mapping[str, str]) -> str:
    """Return the first files with their reasons."""
    return format_names([f"{path} ({reason})" for path, reason in reasons.items()], MAX_LISTED)


def _bytes(number: int) -> str:
    return f"{number / 2**20:,.1f} MiB" if number >= 2**20 else f"{number / 2**10:,.1f} KiB"
