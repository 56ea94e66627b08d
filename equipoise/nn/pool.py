"""Pool of earlier samples, which a discriminator is also trained on (Shrivastava 2017, section 2.3)."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor


class PoolExchange(NamedTuple):
    """Result of :func:`exchange_with_pool`. `samples`: (B, ...), new and earlier ones. `pool`: (P, ...), updated."""

    samples: Tensor
    pool: Tensor


def exchange_with_pool(pool: Tensor, new: Tensor, size: int, generator: Generator) -> PoolExchange:
    """Exchange each of the new samples (B, ...) for an earlier one with probability 1/2 (Zhu 2017, section 4).

    Until the pool (P, ...) has `size` samples, new ones are added and returned unchanged. Then each can be exchanged
    with a different sample of the pool; of a batch larger than the pool, only the first `size` can. Results are
    detached.
    """
    new = new.detach()
    room = min(size - len(pool), len(new))
    added, candidates = new[:room], new[room:]
    pool = torch.cat([pool, added])
    count = min(len(candidates), len(pool))
    if not count:
        return PoolExchange(new, pool)
    indices = torch.randperm(len(pool), generator=generator, device=new.device)[:count]
    is_exchanged = torch.rand(count, generator=generator, device=new.device) < 0.5
    mask = is_exchanged.view(-1, *(1,) * (new.dim() - 1))
    earlier = pool[indices]
    samples = torch.cat([added, torch.where(mask, earlier, candidates[:count]), candidates[count:]])
    return PoolExchange(samples, pool.index_copy(0, indices, torch.where(mask, candidates[:count], earlier)))
