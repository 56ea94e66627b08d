"""Pictures of the explorer in the space of latents: style mixing, directions and arithmetic. Imports torch."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from equipoise.core.printing import format_count
from equipoise.errors import SettingError
from equipoise.inference.latent_space import SelectedLatents, generate_film
from equipoise.inference.spaces import Space, SpaceW
from equipoise.inference.style_space import (
    StyleDirections,
    find_directions,
    layer_range,
    mix_styles,
    move_along,
    sample_styles,
)
from equipoise.report.style_sheets import draw_directions, draw_mixed
from equipoise.runs.labels import marks_of, read_labels
from equipoise.studio.exploration import (
    ExplorationContext,
    ExplorerPicture,
    draw,
    draw_film,
    format_value,
    require_drawable,
    save_latents,
)
from equipoise.studio.explore_requests import ArithmeticRequest, DirectionsRequest, MixRequest

FILM_STEPS = 24
"""Frames from one end of a direction to the other."""

MarkedSide = Literal["keep", "flaw"]


def explore_mix(this: ExplorationContext, request: MixRequest) -> ExplorerPicture:
    """Draw samples with some layers of the row's sample and the others of the column's, as `equipoise mix`."""
    require_drawable(this.generator)
    space = SpaceW(this.generator, this.sampling)
    count = this.generator.count_layers()
    layers = range(max(1, count // 2)) if request.layers is None else layer_range(*request.layers, count)
    rows, columns = (
        space.select(this.names(names), request.label).latents for names in (request.rows, request.columns)
    )
    mixed = mix_styles(rows, columns, layers)
    cells = space.generate(mixed.flatten(0, 1), None).unflatten(0, mixed.shape[:2])
    sources = [space.generate(styles, None).numpy() for styles in (rows, columns)]
    captions = [this.command_names([name]) for name in (*request.rows, *request.columns)]
    split = len(request.rows)
    content = draw_mixed(cells.numpy(), sources[0], sources[1], [captions[:split], captions[split:]])
    words = ["--rows", this.command_names(request.rows), "--columns", this.command_names(request.columns)]
    words += [] if request.layers is None else ["--layers", f"{layers[0]}-{layers[-1]}"]
    return ExplorerPicture(content, this.command("mix", *words, "--out", "mixed.png"), traits=("captioned",))


def explore_directions(this: ExplorationContext, request: DirectionsRequest) -> ExplorerPicture:
    """Draw samples along principal components of w, or from samples of one kind to those of another."""
    if request.source == "labels":
        return _along_labels(this, request)
    require_drawable(this.generator)
    space = SpaceW(this.generator, this.sampling)
    count = len(request.amounts) if request.amounts is not None else request.components
    directions = _components(this, request, count)
    layers = None if request.layers is None else layer_range(*request.layers, this.generator.count_layers())
    if request.start is None:
        styles = directions.mean.expand(this.generator.count_layers(), -1)
    else:
        styles = space.select(this.names([request.start]), request.label).latents[0]
    if request.amounts is not None:
        moved = _move_by(styles, directions, request.amounts, layers)[None]
        return _single_picture(this, space, moved, None, request.save)
    moved = move_along(styles, directions, request.length, request.extent, layers)
    if request.save == "film":
        return _film(this, space, moved[:, 0], moved[:, -1], None)
    samples = space.generate(moved.flatten(0, 1), None)
    content = draw_directions(samples.numpy(), request.components, request.length, request.extent)
    words = ["--components", str(request.components), "--steps", str(request.length)]
    words += ["--extent", format_value(request.extent)]
    words += [] if request.start is None else ["--from", this.command_names([request.start])]
    words += [] if layers is None else ["--layers", f"{layers[0]}-{layers[-1]}"]
    command = this.command("explore", *words, "--out", "directions.png")
    return ExplorerPicture(content, command, traits=("captioned", "film"))


def explore_arithmetic(this: ExplorationContext, request: ArithmeticRequest) -> ExplorerPicture:
    """Draw the sample of sums and differences of mean latents, alone or between its eight neighbours."""
    space = this.space(request.space)
    groups = [
        [space.select(this.names(names), request.label) for names in side] for side in (request.plus, request.minus)
    ]
    latent = space.combine(*([group.latents for group in side] for side in groups))
    first = groups[0][0].labels
    if not request.neighbours:
        labels = None if first is None else first[:1]
        words = _arithmetic_words(this, request)
        return _single_picture(this, space, latent[None], labels, request.save, ("arithmetic", *words))
    neighbours = space.neighbours(latent, 8, torch.Generator().manual_seed(0))
    square = torch.cat([neighbours[:4], latent[None], neighbours[4:]])
    labels = None if first is None else first[:1].repeat_interleave(9, dim=0)
    content, media_type = draw(space.generate(square, labels), this.generator, 3)
    return ExplorerPicture(content, this.command("arithmetic", *_arithmetic_words(this, request)), media_type)


def _arithmetic_words(this: ExplorationContext, request: ArithmeticRequest) -> list[str]:
    pairs = [("--plus", names) for names in request.plus] + [("--minus", names) for names in request.minus]
    words = [word for flag, names in pairs for word in (flag, this.command_names(names))]
    return [*words, *(["--space", request.space] if request.space else []), "--out", "result.png"]


def _components(this: ExplorationContext, request: DirectionsRequest, count: int) -> StyleDirections:
    """Return the first principal components of w, which are computed once for each class."""
    styles = this.run.once(("styles", request.label), lambda: sample_styles(this.generator, request.label))
    return this.run.once(("components", request.label, count), lambda: find_directions(styles, count))


def _move_by(styles: Tensor, directions: StyleDirections, amounts: Sequence[float], layers: range | None) -> Tensor:
    """Move styles (L, D) by amounts (K,) in standard deviations along the first K directions."""
    change = (torch.tensor(amounts) * directions.deviations) @ directions.directions
    mask = torch.zeros(len(styles), 1)
    mask[list(range(len(styles)) if layers is None else layers)] = 1
    return styles + mask * change


def _along_labels(this: ExplorationContext, request: DirectionsRequest) -> ExplorerPicture:
    """Draw a strip from samples marked as flaws to those marked as good, through a sample or the middle of both."""
    space = this.space(request.space)
    plus, minus = request.plus or _marked(this, "keep"), request.minus or _marked(this, "flaw")
    groups = [space.select(this.names(names), request.label) for names in (plus, minus)]
    means = [group.latents.mean(dim=0) for group in groups]
    change, labels = means[0] - means[1], groups[0].labels
    middle = (means[0] + means[1]) / 2
    if request.start is not None:
        start = space.select(this.names([request.start]), request.label)
        middle, labels = start.latents[0], start.labels
    label = None if labels is None else labels[:1]
    if request.amounts is not None:
        if len(request.amounts) != 1:
            raise SettingError(f"there is one direction between labels, but {len(request.amounts)} amounts; give one")
        return _single_picture(this, space, (middle + request.amounts[0] * change)[None], label, request.save)
    amounts = torch.linspace(-request.extent, request.extent, request.length)
    latents = torch.stack([middle + amount * change for amount in amounts])
    if request.save == "film":
        return _film(this, space, latents[:1], latents[-1:], label)
    conditions = None if label is None else label.repeat_interleave(len(latents), dim=0)
    content, media_type = draw(space.generate(latents, conditions), this.generator, request.length)
    return ExplorerPicture(content, media_type=media_type, traits=("film",) if this.generator.spec.is_image else ())


def _film(
    this: ExplorationContext, space: Space, first: Tensor, last: Tensor, labels: Tensor | None
) -> ExplorerPicture:
    """Draw a film of samples that move on a line from the latents `first` (N, ...) to `last`, and back."""
    stops = [SelectedLatents(latents, labels) for latents in (first, last)]
    return draw_film(this.generator, generate_film(space, stops, FILM_STEPS, "linear"))


def _marked(this: ExplorationContext, mark: MarkedSide) -> tuple[str, ...]:
    """Return the samples of this step with a mark. Raises SettingError without any."""
    marks = marks_of(read_labels(this.run.folder), this.generator.step)
    names = tuple(sample for sample, each in marks.items() if each == mark)
    if not names:
        kinds = " and ".join(get_args(MarkedSide))
        raise SettingError(
            f"no sample of step {this.generator.step} is marked as {mark}; mark some as {kinds}, or give their names "
            f"({format_count(len(marks), 'mark')} of this step so far)"
        )
    return names


def _single_picture(
    this: ExplorationContext,
    space: Space,
    latents: Tensor,
    labels: Tensor | None,
    save: str,
    command: Sequence[str] = (),
) -> ExplorerPicture:
    """Draw one sample, or save its latent. `command`: words of the command that makes it again, if there is one."""
    if save == "latents":
        return save_latents(this, space, latents, labels)
    content, media_type = draw(space.generate(latents, labels), this.generator, 1)
    words = this.command(command[0], *command[1:]) if command else ""
    return ExplorerPicture(content, words, media_type, ("latents",))
