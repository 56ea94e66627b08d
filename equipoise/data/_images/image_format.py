"""The format to which images of a data set are decoded: size, colour, transparency, and the values of black and white.

Transparency is kept as in compositing (Porter and Duff 1984, "Compositing Digital Images", section 3): a pixel is (r α,
g α, b α, α), its colours multiplied by its opacity. A filter mixes such pixels correctly: the colour of a fully
transparent pixel, which a file may set to anything, is 0 and cannot bleed into its neighbours; straight colours would
need a made-up colour there. The image on a background b is (r α, g α, b α) + (1 - α) b, linear in the pixel.
"""

from typing import Literal, NamedTuple

from equipoise.core.image_sizes import ImageSides, parse_image_size
from equipoise.data._images.pixel_values import Layout
from equipoise.errors import SettingError

Fit = Literal["crop", "pad", "stretch"]
Background = Literal["white", "black"]
Alpha = Literal["background", "keep"]

COLOURS = {1: "grey", 3: "colour"}
RGBA = 4
"""Number of channels of an image with its transparency."""


class ImageFormat(NamedTuple):
    """The target format of images: (3, H, W), uint8 without `black` and `white`, else float32 in [-1, 1].

    `size`: height in pixels. `fit`: handling of images of another shape; see `ImageFolder`. `black`, `white`: values
    that become -1 and 1; None for 8 bits. `layout`: of arrays with channels; None: from their shape. `full_scale`:
    whether images of 8 bits keep the scale of 0 to 255 whatever `black` and `white` are. `width`: None for squares.
    `alpha`: "keep" for (4, H, W), the colours multiplied by the opacity, and the opacity; None to composite images on
    the background.
    """

    size: int
    fit: Fit
    background: Background
    black: float | None = None
    white: float | None = None
    layout: Layout | None = None
    full_scale: bool | None = None
    width: int | None = None
    alpha: Literal["keep"] | None = None

    @property
    def sides(self) -> ImageSides:
        """Height and width in pixels."""
        return ImageSides(self.size, self.width or self.size)

    @property
    def keeps_alpha(self) -> bool:
        """Whether the opacity is the last channel."""
        return self.alpha == "keep"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a decoded image."""
        return (RGBA if self.keeps_alpha else 3, *self.sides)

    @property
    def dtype(self) -> Literal["uint8", "float32"]:
        """Type of the decoded pixels."""
        return "uint8" if self.black is None or self.white is None else "float32"

    def with_sides(self, sides: ImageSides) -> "ImageFormat":
        """Return the format with other sides."""
        return self._replace(size=sides.height, width=None if sides.width == sides.height else sides.width)

    def key(self) -> dict[str, object]:
        """Return the options as JSON values, without those that are not set."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def check_shape(image_size: int | str | None, *channels: int | None) -> None:
    """Raise SettingError for a size or a number of channels that images cannot be decoded to; None: not set."""
    if image_size is not None:
        parse_image_size(image_size)
    for count in channels:
        if count is not None and count not in COLOURS:
            raise SettingError(f"channels = {count}: it must be 1 (grey) or 3 (colour)")


def check_transparent_shape(image_size: int | str | None, channels: int | None, alpha: Alpha) -> None:
    """Raise SettingError as :func:`check_shape` does, and for a number of channels that contradicts `alpha`."""
    if alpha == "keep" and channels not in (None, RGBA):
        raise SettingError(
            f"channels = {channels} with alpha = keep: images with transparency have {RGBA} channels; omit one of them"
        )
    if alpha != "keep" and channels == RGBA:
        raise SettingError(f"channels = {RGBA} needs transparency: add --option data.alpha=keep")
    check_shape(image_size, None if channels == RGBA else channels)
