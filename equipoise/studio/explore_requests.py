"""What the page can request from the explorer, validated: unknown keys and values out of range are refused.

Samples have the names of the command line, SEED/NUMBER; @JOB names the styles of a projection, @l1 a file that was
loaded. No name is a path.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Base64Bytes, BeforeValidator, Field, RootModel, StringConstraints, model_validator

from equipoise.core.sampling import NoiseMode, SamplerName
from equipoise.studio.responses import Body

MAX_PICTURE_BYTES = 12 * 2**20
MAX_LATENT_BYTES = 12 * 2**20

SampleName = Annotated[str, StringConstraints(pattern=r"^(\d{1,19}/\d{1,5}|@[a-z]\d{1,6})$")]
"""The name of a sample, or of a projection."""
StepName = Annotated[int, Field(ge=0)] | Literal["best", "last", "chosen"] | None
SpaceChoice = Literal["z", "w"] | None


def split_names(value: object) -> object:
    """Split the text of an input, "0/3, 7/12", into names; other values stay as they are."""
    return tuple(re.findall(r"[^\s,;]+", value)) if isinstance(value, str) else _as_tuples(value)


def _as_tuples(value: object) -> object:
    """Return lists as tuples, at any depth: after a validator, only these are valid."""
    if isinstance(value, Mapping):
        return {key: _as_tuples(item) for key, item in value.items()}
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _none_if_empty(value: object) -> object:
    return value or None


def _first_name(value: object) -> object:
    names = split_names(value)
    return (names[0] if names else None) if isinstance(names, tuple) else value


ColumnCount = Annotated[int, Field(ge=1, le=256)] | None
SampleNames = Annotated[tuple[SampleName, ...], BeforeValidator(split_names), Field(min_length=1, max_length=16)]
MarkedNames = Annotated[tuple[SampleName, ...], BeforeValidator(split_names), Field(max_length=256)]
LayerRange = tuple[int, int] | None
SeedNumber = Annotated[int, Field(ge=0, lt=2**63)]
UploadedPicture = Annotated[Base64Bytes, Field(min_length=1, max_length=MAX_PICTURE_BYTES)]


class SamplingFields(Body):
    """How to sample, as `Sampling`: what is None is as the model was trained."""

    truncation: float | None = None
    psi: float | None = None
    cutoff: int | None = None
    noise: NoiseMode | None = None
    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance: float | None = None
    sampler: SamplerName | None = None


class ExploreFields(Body):
    """What all requests have. `client`: of two requests of one client only the newer one is answered.

    `scale`: how many times a picture is enlarged, without smoothing.
    """

    run: str = Field(min_length=1, max_length=255)
    step: StepName = None
    client: str = Field(default="", max_length=64)
    label: int | str | None = None
    sampling: SamplingFields = SamplingFields()
    save: Literal["png", "latents", "film"] = "png"
    scale: Literal[1, 4, 8] = 1


class GridRequest(ExploreFields):
    """The first samples of a seed, as `equipoise sample` draws them."""

    kind: Literal["grid"]
    seed: SeedNumber = 0
    count: int = Field(default=64, ge=1, le=256)
    columns: ColumnCount = None


class PromptRequest(ExploreFields):
    """The first samples of a seed that show a text."""

    kind: Literal["prompt"]
    prompt: str = Field(min_length=1, max_length=400)
    seed: SeedNumber = 0
    count: int = Field(default=16, ge=1, le=256)
    columns: ColumnCount = None


class SeedsRequest(ExploreFields):
    """Samples by their names. `prompt`: the text that they show, for a model with captions."""

    kind: Literal["seeds"]
    samples: Annotated[tuple[SampleName, ...], Field(min_length=1, max_length=64)]
    columns: ColumnCount = None
    prompt: str = Field(default="", max_length=400)


class PlaneRequest(ExploreFields):
    """A point of the plane of seeds, or a grid around it; see `inference/latent_plane.py`."""

    kind: Literal["plane"]
    x: float
    y: float
    rows: int = Field(default=1, ge=1, le=8)
    columns: int = Field(default=1, ge=1, le=8)
    spacing: float = Field(default=1.0, gt=0, le=100)
    space: SpaceChoice = None


class InterpolateRequest(ExploreFields):
    """Rows of samples between two each."""

    kind: Literal["interpolate"]
    start: SampleNames
    end: SampleNames
    length: int = Field(default=10, ge=2, le=64)
    space: SpaceChoice = None


class MixRequest(ExploreFields):
    """Samples with the styles of one sample in some layers, and of another one in the others."""

    kind: Literal["mix"]
    rows: SampleNames
    columns: SampleNames
    layers: LayerRange = None

    @model_validator(mode="before")
    @classmethod
    def _order_layers(cls, values: object) -> object:
        """Take the first and the last layer of a form, in any order, as layers."""
        if not isinstance(values, Mapping) or not {"first", "last"} <= values.keys():
            return _as_tuples(values)
        rest = {key: value for key, value in values.items() if key not in ("first", "last")}
        return _as_tuples({**rest, "layers": sorted((values["first"], values["last"]))})


class DirectionsRequest(ExploreFields):
    """Samples along directions: principal components of w, or from the samples `minus` to the samples `plus`."""

    kind: Literal["directions"]
    source: Literal["components", "labels"] = "components"
    start: Annotated[SampleName | None, BeforeValidator(_first_name)] = None
    components: int = Field(default=8, ge=1, le=32)
    length: int = Field(default=7, ge=2, le=32)
    extent: float = Field(default=2.0, gt=0, le=100)
    layers: LayerRange = None
    amounts: Annotated[tuple[float, ...], Field(min_length=1, max_length=32)] | None = None
    plus: MarkedNames = ()
    minus: MarkedNames = ()
    space: SpaceChoice = None

    @model_validator(mode="before")
    @classmethod
    def _collect_amounts(cls, values: object) -> object:
        """Take amount1, amount2, ... of a form as amounts; while all are 0, there are none."""
        if not isinstance(values, Mapping):
            return values
        amounts = {key: value for key, value in values.items() if re.fullmatch(r"amount\d+", str(key))}
        rest = {key: value for key, value in values.items() if key not in amounts}
        return _as_tuples({**rest, "amounts": list(amounts.values())} if any(amounts.values()) else rest)


class ArithmeticRequest(ExploreFields):
    """The sample of sums and differences of mean latents."""

    kind: Literal["arithmetic"]
    plus: Annotated[tuple[SampleNames, ...], Field(min_length=1, max_length=8)]
    minus: Annotated[tuple[SampleNames, ...], Field(max_length=8)] = ()
    space: SpaceChoice = None
    neighbours: bool = False

    @model_validator(mode="before")
    @classmethod
    def _split_groups(cls, values: object) -> object:
        """Take the texts plus, more and minus of a form as groups; empty ones are left out."""
        if not isinstance(values, Mapping) or not isinstance(values.get("plus"), str):
            return _as_tuples(values)
        groups = {key: split_names(values.get(key, "")) for key in ("plus", "more", "minus")}
        rest = {key: value for key, value in values.items() if key not in groups}
        plus = [group for group in (groups["plus"], groups["more"]) if group]
        return _as_tuples({**rest, "plus": plus, "minus": [groups["minus"]] if groups["minus"] else []})


class TranslateRequest(ExploreFields):
    """The translation of a picture."""

    kind: Literal["translate"]
    image: UploadedPicture
    back: bool = False
    grey: bool = False
    fit: Annotated[Literal["native", "resize", "crop", "pad", "stretch"] | None, BeforeValidator(_none_if_empty)] = None


class LoadRequest(ExploreFields):
    """A file of one latent or its styles, as the page saves it; the answer is its name. `file`: name of the file."""

    kind: Literal["load"]
    latents: Annotated[Base64Bytes, Field(min_length=1, max_length=MAX_LATENT_BYTES)]
    file: Annotated[str, StringConstraints(pattern=r"^[^/\\\x00-\x1f]{1,200}\.safetensors$")]


class ProjectRequest(ExploreFields):
    """The styles whose sample resembles a picture most; a job, since it takes long."""

    kind: Literal["project"]
    image: UploadedPicture
    steps: int = Field(default=300, ge=1, le=2000)
    space: Literal["w", "w+"] = "w+"
    distance: Literal["efficientnet_lite0", "vgg", "pixels"] = "efficientnet_lite0"
    fit: Literal["crop", "pad", "stretch"] | None = None
    seed: SeedNumber = 0


AnyExploreRequest = (
    GridRequest
    | PromptRequest
    | SeedsRequest
    | PlaneRequest
    | InterpolateRequest
    | MixRequest
    | DirectionsRequest
    | ArithmeticRequest
    | TranslateRequest
    | LoadRequest
    | ProjectRequest
)


class ExploreRequest(RootModel[Annotated[AnyExploreRequest, Field(discriminator="kind")]]):
    """A request of any kind."""
