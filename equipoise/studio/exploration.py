"""Pictures of the explorer: grids, prompts, seeds, the plane of seeds, and interpolations. Imports torch."""

import io
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

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
    LoadRequest,
    PlaneRequest,
    PromptRequest,
    SeedsRequest,
    SpaceChoice,
)
from equipoise.studio.open_runs import OpenRun, parse_names

FILM_FPS = 24
LOADED = "l"
"""First letter of the names of files that were loaded."""
MAX_PIXELS = 64_000_000
PNG, TEXT, FILM, LATENTS = "image/png", "text/plain; charset=utf-8", "video/mp4", "application/octet-stream"


Trait = Literal["latents", "film", "captioned"]


@dataclass(frozen=True, slots=True)
class ExplorerPicture:
    """An answer of the explorer. `command`: the command that makes it again; "" if there is none.

    `traits`: latents: one sample, whose latents can be saved; film: a film can be saved; captioned: has captions.
    `notes`: what was left out of a prompt.
    """

    content: bytes
    command: str = ""
    media_type: str = PNG
    traits: tuple[Trait, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExplorationContext:
    """A run that is explored, how it is sampled, and the files of projections and of loaded latents by their name."""

    run: OpenRun
    fields: ExploreFields
    files: Mapping[str, Path]

    @property
    def generator(self) -> Generator:
        """The generator."""
        return self.run.generator

    @property
    def sampling(self) -> Sampling:
        """How to sample; a cutoff without psi has no effect. Raises SettingError for a value out of range."""
        values = self.fields.sampling.model_dump()
        return Sampling(**values | ({"cutoff": None} if values["psi"] is None else {}))

    def space(self, name: SpaceChoice) -> Space:
        """Return the space of latents. Raises SettingError if the model does not have it."""
        return open_space(self.generator, name, self.sampling)

    def names(self, names: Sequence[str]) -> list[SampleReference]:
        """Return samples by their names. Raises SettingError for an unknown file."""
        return parse_names(tuple(names), self.files)

    def command_names(self, names: Sequence[str]) -> str:
        """Return names of samples as a word of a command: what was loaded is its file, a projection the saved file."""
        paths = {f"@{name}": path.name for name, path in self.files.items() if name.startswith(LOADED)}
        return ",".join(paths.get(name, f"{name[1:]}.safetensors") if name[0] == "@" else name for name in names)

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
    command = this.command("sample", *words, "--out", f"samples{_ending(media_type)}")
    return ExplorerPicture(content, command, media_type, notes=_notes(this, prompt))


def explore_seeds(this: ExplorationContext, request: SeedsRequest) -> ExplorerPicture:
    """Draw samples by their names."""
    if request.prompt:
        return _explore_prompted(this, request)
    references = this.names(request.samples)
    space = space_of_samples(this.generator, references, sampling=this.sampling)
    selected = space.select(references, request.label)
    if request.save == "latents":
        return save_latents(this, space, selected.latents, selected.labels)
    content, media_type = draw(space.generate(selected.latents, selected.labels), this.generator, request.columns)
    words = ["--samples", this.command_names(request.samples), "--out", f"samples{_ending(media_type)}"]
    traits = _latents_of(len(references))
    return ExplorerPicture(content, this.command("sample", *words), media_type, traits)


def _explore_prompted(this: ExplorationContext, request: SeedsRequest) -> ExplorerPicture:
    """Draw one sample of a prompt; the command line has no name for it."""
    match this.names(request.samples):
        case [SampleId(seed, number)] if request.save != "latents":
            samples = this.generator.sample(
                number + 1, label=request.label, prompt=request.prompt, seed=seed, sampling=this.sampling
            )
            content, media_type = draw(samples[number:], this.generator, None)
            return ExplorerPicture(content, media_type=media_type, notes=_notes(this, request.prompt))
    raise SettingError("one numbered sample of a prompt is drawn at a time, and its latents are not saved")


def _notes(this: ExplorationContext, prompt: str | None) -> tuple[str, ...]:
    return this.generator.read_prompt(prompt).warnings() if prompt else ()


def load_latents(this: ExplorationContext, request: LoadRequest, folder: Path) -> Path:
    """Write a file of latents or styles into `folder`, which is created. Raises SettingError unless it can be drawn."""
    folder.mkdir()
    path = folder / request.file
    path.write_bytes(request.latents)
    space_of_samples(this.generator, [path], sampling=this.sampling).select([path], request.label)
    return path


def enlarge(picture: ExplorerPicture, scale: int) -> ExplorerPicture:
    """Enlarge a picture by repeating its pixels. Raises SettingError if it becomes too large."""
    if scale == 1 or picture.media_type != PNG:
        return picture
    with Image.open(io.BytesIO(picture.content)) as image:
        width, height = image.width * scale, image.height * scale
        if width * height > MAX_PIXELS:
            raise SettingError(f"{width:,} x {height:,} pixels are too many; choose a smaller size, or fewer samples")
        content = io.BytesIO()
        image.resize((width, height), Image.Resampling.NEAREST).save(content, "PNG")
    return replace(picture, content=content.getvalue())


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
    return ExplorerPicture(content, command, media_type, _latents_of(len(points)))


def explore_interpolation(this: ExplorationContext, request: InterpolateRequest) -> ExplorerPicture:
    """Draw rows of samples between two each, or a film of them that goes there and back."""
    if len(request.start) != len(request.end):
        raise SettingError(f"there are {len(request.start)} starts and {len(request.end)} ends; give the same number")
    space = this.space(request.space)
    ends = [space.select(this.names(names), request.label) for names in (request.start, request.end)]
    words = ["--from", this.command_names(request.start), "--to", this.command_names(request.end)]
    words += ["--steps", str(request.length), *(["--space", request.space] if request.space else [])]
    if request.save == "film":
        frames = generate_film(space, ends, request.length, space.interpolation)
        command = this.command("interpolate", *words, "--out", "film.mp4", steps_flag="--sampling-steps")
        return draw_film(this.generator, frames, command)
    samples = generate_strip(space, ends[0], ends[1], request.length, space.interpolation)
    content, media_type = draw(samples.flatten(0, 1), this.generator, request.length)
    out = f"strip{_ending(media_type)}"
    command = this.command("interpolate", *words, "--out", out, steps_flag="--sampling-steps")
    return ExplorerPicture(content, command, media_type, ("film",) if this.generator.spec.is_image else ())


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


def draw_film(generator: Generator, frames: Iterable[Tensor], command: str = "") -> ExplorerPicture:
    """Draw a film of frames, images (N, C, H, W) each. `command`: what makes it again."""
    from equipoise.report.video_encoding import write_video

    require_drawable(generator)
    pictures = [film_frame(samples.numpy()) for samples in frames]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_video(path, iter(pictures), pictures[0].size, FILM_FPS)
        return ExplorerPicture(path.read_bytes(), command, FILM)


def require_drawable(generator: Generator) -> None:
    """Raise SettingError for a generator of other samples than images."""
    if not generator.spec.is_image:
        raise SettingError("samples of this run are no images; use a run with images for this view")


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


def _latents_of(count: int) -> tuple[Trait, ...]:
    return ("latents",) if count == 1 else ()


def _ending(media_type: str) -> str:
    return ".txt" if media_type == TEXT else ".png"
