"""The weights in the package that a run can start from: `--from starter`, for colour pictures of 64 pixels on a CPU.

The folder next to this file is a run of `dcgan:cpu64` with its last checkpoint, reduced to the weights;
benchmarks/starter.py trains and writes it, and LICENSES.txt names the pictures. Measured on pictures that it has not
seen: benchmarks/starter.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.errors import SettingError

if TYPE_CHECKING:
    from equipoise.core.data import DataSpec  # imports torch, which the studio does not wait for

STARTER = "starter"
"""Value of `--from`. A folder of this name is ./starter."""
FOLDER = Path(__file__).with_name("starter_weights")
CHANNELS = 3


def start_path(start_from: str) -> Path:
    """Return the run or checkpoint that a run starts from: a path, or "starter" for the weights in the package."""
    return FOLDER if start_from == STARTER else Path(start_from).expanduser()


def check_starter(start_from: str | None, spec: "DataSpec") -> None:
    """Raise SettingError if a run is to start from the weights in the package, but its data are no colour pictures."""
    if start_from != STARTER or (spec.is_image and spec.shape[0] == CHANNELS):
        return
    if spec.is_image:
        problem = f"images of {CHANNELS} channels, but these data have {spec.shape[0]}"
        remedy = f"add --option data.channels={CHANNELS}, or omit --from"
    else:
        problem, remedy = "colour images, but these data are none", "omit --from"
    raise SettingError(f"the starter generates {problem}; {remedy}")
