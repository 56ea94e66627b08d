"""A pool of earlier fakes, so that a discriminator does not forget what it was fooled by (Shrivastava 2017, 2.3)."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor


class Drawn(NamedTuple):
    """`shown`: (B, ...) what the discriminator is shown. `pool`: (P, ...) as it stands afterwards."""

    shown: Tensor
    pool: Tensor


def swapped(pool: Tensor, new: Tensor, size: int, generator: Generator) -> Drawn:
    """New fakes (B, ...), each exchanged for an earlier one with probability 1/2, as Zhu 2017, section 4, does.

    While the pool (P, ...) has room, new fakes enter it and are shown. Then each may change places with one of the
    pool, no two with the same; of a batch larger than the pool only the first `size` may. Nothing carries a gradient.
    """
    new = new.detach()
    room = min(size - len(pool), len(new))
    entering, rest = new[:room], new[room:]
    pool = torch.cat([pool, entering])
    count = min(len(rest), len(pool))
    if not count:
        return Drawn(new, pool)
    places = torch.randperm(len(pool), generator=generator, device=new.device)[:count]
    chosen = torch.rand(count, generator=generator, device=new.device) < 0.5
    mask = chosen.view(-1, *(1,) * (new.dim() - 1))
    earlier = pool[places]
    shown = torch.cat([entering, torch.where(mask, earlier, rest[:count]), rest[count:]])
    return Drawn(shown, pool.index_copy(0, places, torch.where(mask, rest[:count], earlier)))
