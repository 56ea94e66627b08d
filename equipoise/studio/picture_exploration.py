"""Pictures of the explorer that start from an uploaded picture: translation and projection. Imports torch."""

import io
import tempfile
import warnings
from collections.abc import Generator as Steps
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from equipoise.core.data import Preparation
from equipoise.errors import DataError, EquipoiseError, SettingError
from equipoise.inference.projection import TASK, Projection, ProjectionSettings, project
from equipoise.inference.style_files import encode_styles
from equipoise.inference.style_space import require_styles
from equipoise.inference.translation import TranslationRequest, input_shape, translate
from equipoise.inference.user_image import read_user_image
from equipoise.report.style_sheets import draw_captioned
from equipoise.studio.exploration import ExplorationContext, ExplorerPicture
from equipoise.studio.explore_requests import ProjectRequest, TranslateRequest

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAX_UPLOADED_PIXELS = 32_000_000

JobState = Literal["running", "finished", "failed", "cancelled"]


def explore_translation(this: ExplorationContext, request: TranslateRequest) -> ExplorerPicture:
    """Translate a picture, as `equipoise translate` does."""
    input_shape(this.generator, back=request.back)  # raises for a model that does not translate
    with tempfile.TemporaryDirectory() as folder:
        source = write_upload(request.image, Path(folder))
        target = Path(folder) / "translated.png"
        run = this.run.folder
        steps = translate(
            this.generator,
            TranslationRequest(run, source, target, request.fit, request.back, request.grey),
        )
        for _ in steps:
            pass
        content = target.read_bytes()
    words = ["picture.png", *(["--fit", request.fit] if request.fit else [])]
    words += ["--back"] * request.back + ["--grey"] * request.grey + ["--out", "translated.png"]
    return ExplorerPicture(content, this.command("translate", *words))


def write_upload(content: bytes, folder: Path) -> Path:
    """Write an uploaded picture, and return its path. Raises DataError unless it is a picture of a usual size."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                kind, pixels = str(image.format), image.width * image.height
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"the file is no picture that can be read; use one of: {', '.join(FORMATS)}") from error
    if pixels > MAX_UPLOADED_PIXELS:
        raise DataError(f"the picture has {pixels:,} pixels; reduce it to {MAX_UPLOADED_PIXELS:,}")
    path = folder / f"picture.{kind.lower()}"
    path.write_bytes(content)
    return path


@dataclass(eq=False)
class ProjectionJob:
    """A projection under way. `step`, `steps`: progress. `notes`: information for the user. `styles`: file, if done."""

    this: ExplorationContext
    request: ProjectRequest
    folder: Path
    state: JobState = "running"
    step: int = 0
    notes: list[str] = field(default_factory=list)
    error: str = ""
    result: Projection | None = None
    styles: Path | None = None

    def __post_init__(self) -> None:
        require_styles(self.this.generator)
        self.folder.mkdir()
        self._target: Tensor | None = None
        self._source = write_upload(self.request.image, self.folder)
        self._steps = self._run()

    def advance(self) -> None:
        """Make one step of the optimiser."""
        try:
            progress = next(self._steps)
        except StopIteration:
            self.state = "finished"
        except EquipoiseError as error:
            self.state, self.error = "failed", " ".join(str(error).split())
        else:
            self.step = progress.done if progress.task == TASK else self.step
            if progress.note:
                self.notes.append(progress.note)

    def cancel(self) -> None:
        """Stop the projection."""
        if self.state == "running":
            self.state = "cancelled"
            self._steps.close()

    def describe(self) -> dict[str, object]:
        """Return the state as JSON values."""
        result = self.result
        return {
            "state": self.state,
            "step": self.step,
            "steps": self.request.steps,
            "notes": self.notes,
            "error": self.error,
            "distance": None if result is None else result.distance,
            "start_distance": None if result is None else result.start_distance,
            "distance_name": None if result is None else result.distance_name,
        }

    def picture(self) -> ExplorerPicture:
        """Draw the picture, and its projection when that is finished."""
        if self._target is None:
            raise SettingError("the picture is not read yet; try again in a moment")
        pictures = [self._target] if self.result is None else [self._target, self.result.sample]
        words = ["picture.png", "--steps", str(self.request.steps), "--space", self.request.space]
        words += ["--distance", self.request.distance, "--seed", str(self.request.seed)]
        words += ["--fit", self.request.fit] if self.request.fit else []
        command = self.this.command("project", *words, "--out", "projected.png")
        captions = ["image", "projection"][: len(pictures)]
        return ExplorerPicture(
            draw_captioned(torch.stack(pictures).numpy(), captions, 2), command, traits=("captioned",)
        )

    def _run(self) -> Steps[Preparation, None, None]:
        request, generator = self.request, self.this.generator
        settings = ProjectionSettings(
            steps=request.steps, space=request.space, distance=request.distance, seed=request.seed, label=request.label
        )
        self._target = yield from read_user_image(self.this.run.folder, generator, self._source, request.fit)
        self.result = yield from project(generator, self._target, settings, self.this.sampling)
        path = self.folder / "styles.safetensors"
        path.write_bytes(encode_styles(self.result.styles[None], generator, ".safetensors"))
        self.styles = path
