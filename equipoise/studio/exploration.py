"""Pictures of the explorer: grids, prompts, seeds, the plane of seeds, and interpolations. Imports torch."""

import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from equipoise.core.sampling import Sampling
from equipoise.errors import SettingError, shell_path
from equipoise.inference.generator import Generator
from equipoise.inference.latent_plane import select_plane
from equipoise.inference.latent_space import SampleId, generate_film, generate_strip
from equipoise.inference.spaces import SampleReference, Space, open_space, space_of_samples
from equipoise.inference.style_files import encode_latents, encode_styles
from equipoise.report.image_grids import film_frame
from equipoise.report.sequence_sheets import draw_sequences
from equipoise.runs.artifacts import encode_lines, encode_png, make_grid
from equipoise.studio.explore_requests import (
    ExploreFields,
    GridRequest,
    InterpolateRequest,
    PlaneRequest,
    PromptRequest,
    SeedsRequest,
    SpaceChoice,
)
from equipoise.studio.open_runs import OpenRun, parse_names

FILM_FPS = 24
PNG, TEXT, FILM, LATENTS = "image/png", "text/plain; charset=utf-8", "video/mp4", "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ExplorerPicture:
    """An answer of the explorer. `command`: the command that makes it again; "" if there is none."""

    content: bytes
    command: str = ""
    media_type: str = PNG


@dataclass(frozen=True, slots=True)
class ExplorationContext:
    """A run that is explored, how it is sampled, and the files of styles of projections by their job."""

    run: OpenRun
    fields: ExploreFields
    projections: Mapping[str, Path]

    @property
    def generator(self) -> Generator:
        """The generator."""
        return self.run.generator

    @property
    def sampling(self) -> Sampling:
        """How to sample. Raises SettingError for a value out of range."""
        return Sampling(**self.fields.sampling.model_dump())

    def space(self, name: SpaceChoice) -> Space:
        """Return the space of latents. Raises SettingError if the model does not have it."""
        return open_space(self.generator, name, self.sampling)

    def names(self, names: Sequence[str]) -> list[SampleReference]:
        """Return samples by their names. Raises SettingError for an unknown projection."""
        return parse_names(tuple(names), self.projections)

    def command(self, name: str, *words: str, steps_flag: str = "--steps") -> str:
        """Return a command of this run with its step, label and sampling, ready for a shell."""
        settings = {**self.sampling.settings()}
        steps = settings.pop("steps", None)
        flags = [word for key, value in settings.items() for word in (f"--{key}", format_value(value))]
        flags += [] if steps is None else [steps_flag, str(steps)]
        flags += [] if self.run.step is None else ["--step", str(self.run.step)]
        flags += [] if self.fields.label is None else ["--label", str(self.fields.label)]
        return f"equipoise {name} {shell_path(self.run.folder)} {shlex.join([*words, *flags])}"


def explore_grid(this: ExplorationContext, request: GridRequest | PromptRequest) -> ExplorerPicture:
    """Draw the first samples of a seed, as `equipoise sample` does."""
    prompt = request.prompt if isinstance(request, PromptRequest) else None
    samples = this.generator.sample(
        request.count, label=request.label, prompt=prompt, seed=request.seed, sampling=this.sampling
    )
    words = ["--count", str(request.count), "--seed", str(request.seed), *(["--prompt", prompt] if prompt else [])]
    content, media_type = draw(samples, this.generator, request.columns)
    return ExplorerPicture(
        content, this.command("sample", *words, "--out", f"samples{_ending(media_type)}"), media_type
    )


def explore_seeds(this: ExplorationContext, request: SeedsRequest) -> ExplorerPicture:
    """Draw samples by their names."""
    references = this.names(request.samples)
    space = space_of_samples(this.generator, references, sampling=this.sampling)
    selected = space.select(references, request.label)
    if request.save == "latents":
        return save_latents(this, space, selected.latents, selected.labels)
    content, media_type = draw(space.generate(selected.latents, selected.labels), this.generator, request.columns)
    words = ["--samples", command_names(request.samples), "--out", f"samples{_ending(media_type)}"]
    return ExplorerPicture(content, this.command("sample", *words), media_type)


def explore_plane(this: ExplorationContext, request: PlaneRequest) -> ExplorerPicture:
    """Draw a point of the plane of seeds, or a grid around it."""
    left = request.x - (request.columns - 1) // 2 * request.spacing
    top = request.y - (request.rows - 1) // 2 * request.spacing
    points = [
        (left + column * request.spacing, top + row * request.spacing)
        for row in range(request.rows)
        for column in range(request.columns)
    ]
    space = this.space(request.space)
    selected = select_plane(space, points, request.label)
    if request.save == "latents":
        return save_latents(this, space, selected.latents, selected.labels)
    content, media_type = draw(space.generate(selected.latents, selected.labels), this.generator, request.columns)
    words = [f"--plane={format_value(x)},{format_value(y)}" for x, y in points]
    words += ["--space", request.space] if request.space else []
    command = this.command("sample", *words, "--out", f"plane{_ending(media_type)}") if len(points) <= 16 else ""
    return ExplorerPicture(content, command, media_type)


def explore_interpolation(this: ExplorationContext, request: InterpolateRequest) -> ExplorerPicture:
    """Draw rows of samples between two each, or a film of them that goes there and back."""
    if len(request.start) != len(request.end):
        raise SettingError(f"there are {len(request.start)} starts and {len(request.end)} ends; give the same number")
    space = this.space(request.space)
    ends = [space.select(this.names(names), request.label) for names in (request.start, request.end)]
    words = ["--from", command_names(request.start), "--to", command_names(request.end)]
    words += ["--steps", str(request.length), *(["--space", request.space] if request.space else [])]
    if request.save == "film":
        require_drawable(this.generator)
        frames = [
            film_frame(samples.numpy()) for samples in generate_film(space, ends, request.length, space.interpolation)
        ]
        command = this.command("interpolate", *words, "--out", "film.mp4", steps_flag="--sampling-steps")
        return ExplorerPicture(_encode_film(frames), command, FILM)
    samples = generate_strip(space, ends[0], ends[1], request.length, space.interpolation)
    content, media_type = draw(samples.flatten(0, 1), this.generator, request.length)
    out = f"strip{_ending(media_type)}"
    command = this.command("interpolate", *words, "--out", out, steps_flag="--sampling-steps")
    return ExplorerPicture(content, command, media_type)


def save_latents(this: ExplorationContext, space: Space, latents: Tensor, labels: Tensor | None) -> ExplorerPicture:
    """Return a file of one latent, or of its styles, from which `equipoise sample --samples FILE` draws it again."""
    if len(latents) != 1:
        raise SettingError(f"these are {len(latents)} samples; a file of latents holds one, select it first")
    if space.name == "w":
        content = encode_styles(latents, this.generator, ".safetensors")
    else:
        content = encode_latents(latents, labels, this.generator)
    command = this.command("sample", "--samples", "latents.safetensors", "--out", "sample.png")
    return ExplorerPicture(content, command, LATENTS)


def draw(samples: Tensor, generator: Generator, columns: int | None) -> tuple[bytes, str]:
    """Draw samples (N, ...) as `equipoise sample` writes them: a grid as PNG, lines of text; and their media type."""
    spec = generator.spec
    if spec.vocabulary is not None:
        return encode_lines([spec.vocabulary.decode(row) for row in samples.tolist()]), TEXT
    array = samples.numpy()
    if spec.is_image:
        return encode_png(make_grid(array, columns, keeps_alpha=True)), PNG
    if spec.is_sequence:
        return encode_png(draw_sequences(array, columns, most=len(array))), PNG
    return _draw_points(samples.flatten(1)), PNG


def require_drawable(generator: Generator) -> None:
    """Raise SettingError for a generator of other samples than images."""
    if not generator.spec.is_image:
        raise SettingError("samples of this run are no images; use a run with images for this view")


def command_names(names: Sequence[str]) -> str:
    """Return names of samples as a word of a command; a projection is the file that the page saves."""
    return ",".join(f"{name[1:]}.safetensors" if name.startswith("@") else name for name in names)


def format_value(value: float | str) -> str:
    """Return a value as a word of a command, with all its digits."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def sample_ids(seed: int, count: int) -> list[SampleReference]:
    """Return the first samples of a seed."""
    return [SampleId(seed, number) for number in range(count)]


def _draw_points(points: Tensor) -> bytes:
    from matplotlib.figure import Figure

    from equipoise.report.plot_style import render_png
    from equipoise.report.sample_plots import draw_samples
    from equipoise.report.samples import Samples, value_limits

    def figure() -> Figure:
        result = Figure(figsize=(5, 5), layout="constrained")
        samples = Samples(0, 0, values=points.double().numpy())
        draw_samples(result.add_subplot(), samples, value_limits([samples]))
        return result

    return render_png(figure)


def _encode_film(frames: Sequence[Image.Image]) -> bytes:
    from equipoise.report.video_encoding import write_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_video(path, iter(frames), frames[0].size, FILM_FPS)
        return path.read_bytes()


def _ending(media_type: str) -> str:
    return ".txt" if media_type == TEXT else ".png"
