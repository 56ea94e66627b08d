"""Minibatch standard deviation: a feature map that tells a discriminator how much the samples of a batch differ."""

import torch
from torch import Tensor, nn

from equipoise.core.world import batch_world
from equipoise.errors import SettingError

EPSILON = 1e-8
"""Added to the variance, so that the gradient of its root is finite where samples are equal."""


class MinibatchDeviation(nn.Module):
    """Layer (N, C, H, W) -> (N, C + `channels`, H, W) that appends the mean standard deviation over groups of samples.

    Karras et al. 2018, "Progressive Growing of GANs", section 3. Samples are divided into groups of `group`: sample n
    belongs to group n mod (N / group). s = sqrt(variance over the group + 1e-8), biased, is computed per channel and
    position and averaged over all of them, or over each of `channels` equal parts of the channels (Karras 2020,
    StyleGAN2, its code). Without weights. If `group` does not divide N, the largest group that does is used, so that
    any number of samples can be evaluated outside training; see :func:`check_deviation_group`. Each of several
    processes that train together has groups of its own.
    """

    def __init__(self, group: int = 4, channels: int = 1) -> None:
        super().__init__()
        self.group, self.channels = group, channels

    def forward(self, maps: Tensor) -> Tensor:
        """Append the deviation maps; `channels` must divide C."""
        count, _, height, width = maps.shape
        group = largest_group(count, self.group)
        wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
        groups = wide.reshape(group, count // group, self.channels, -1, height, width)
        # Not Tensor.var, whose kernel for a short first dimension takes 3 % of a step on a CPU.
        variance = (groups - groups.mean(dim=0)).square().mean(dim=0)
        deviation = (variance + EPSILON).sqrt().mean(dim=(2, 3, 4))
        # (N / group, channels) -> (N, channels, H, W): the groups repeat every N / group samples.
        repeated = deviation.to(maps.dtype).repeat(group, 1)[:, :, None, None].expand(-1, -1, height, width)
        return torch.cat([maps, repeated], dim=1)


def largest_group(count: int, group: int) -> int:
    """Return the largest divisor of `count` that is at most `group`."""
    return next(size for size in range(min(group, count), 0, -1) if count % size == 0)


def check_deviation_group(count: int, group: int) -> None:
    """Raise SettingError for batches of training of `count` samples that groups of `group` do not divide.

    Batches smaller than a group are one group.
    """
    if count > group and count % group:
        size = batch_world().size
        below, above = (size * group * groups for groups in (count // group, -(-count // group)))
        share = f"the {count} samples of each of {size} processes" if size > 1 else f"a batch of {count} samples"
        raise SettingError(
            f"the minibatch standard deviation cannot divide {share} into groups of {group}; "
            f"use --batch-size {below} or {above}"
        )
