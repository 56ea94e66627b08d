"""Reader of the output of the PyTorch DCGAN example (examples/dcgan)."""

import re
from collections.abc import Sequence

from equipoise.diagnosis.log_file import LogFile
from equipoise.diagnosis.training_log import TrainingLog, log_from_epoch_lines

__all__ = ["PyTorchDCGAN"]

LINE = re.compile(
    r"\[(\d+)/(\d+)\]\[(\d+)/(\d+)\]\s*Loss_D:\s*(\S+)\s+Loss_G:\s*(\S+)"
    r"(?:\s+D\(x\):\s*(\S+))?(?:\s+D\(G\(z\)\):\s*(\S+))?"
)
"""[1/500][0/14] Loss_D: 0.0001 Loss_G: 45.8796 D(x): 0.9999 D(G(z)): 0.0000 / 0.0000
Numbers match any characters but spaces: logs of this format are the longest, and this halves the time."""


class PyTorchDCGAN:
    """Reads lines with epoch, batch, both losses and, optionally, D(x) and D(G(z)) before the generator's update."""

    name = "PyTorch DCGAN example"
    contents = "`[1/500][0/14] Loss_D: … Loss_G: … D(x): … D(G(z)): … / …`; D(x) and D(G(z)) are optional"
    order = 20
    folder_files: tuple[str, ...] = ()

    def read(self, files: Sequence[LogFile]) -> TrainingLog | None:
        """Read the lines of one file."""
        return log_from_epoch_lines(self.name, LINE.findall(files[0].text))
