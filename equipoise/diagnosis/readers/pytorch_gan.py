"""Reader of the output of the models in eriklindernoren/PyTorch-GAN."""

import re
from collections.abc import Sequence

from equipoise.diagnosis.log_file import LogFile
from equipoise.diagnosis.training_log import NUMBER, TrainingLog, log_from_epoch_lines

__all__ = ["PyTorchGAN"]

LINE = re.compile(
    rf"\[Epoch (\d+)/(\d+)\] \[Batch (\d+)/(\d+)\] \[D loss: {NUMBER}[^\]]*\] \[G loss: {NUMBER}", re.IGNORECASE
)
"""[Epoch 0/200] [Batch 0/938] [D loss: 0.693147] [G loss: 0.708]"""


class PyTorchGAN:
    """Reads lines with epoch, batch and both losses."""

    name = "PyTorch-GAN"
    contents = "`[Epoch 0/200] [Batch 0/938] [D loss: …] [G loss: …]`"
    order = 40
    folder_files: tuple[str, ...] = ()

    def read(self, files: Sequence[LogFile]) -> TrainingLog | None:
        """Read the lines of one file."""
        return log_from_epoch_lines(self.name, LINE.findall(files[0].text))
