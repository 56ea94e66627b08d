"""Self-attention between all places of a map. Zhang et al. 2019, "Self-Attention Generative Adversarial Networks"."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d


class SelfAttention(nn.Module):
    """Layer y = gamma o + x, o_j = v(sum_i beta_ji h(x_i)), beta_j = softmax_i(f(x_i) . g(x_j)): equations 1 to 3.

    f, g, h and v are 1 x 1 convolutions without bias: the key f and the query g to an eighth of the channels, the value
    h to half of them, the output v back to all. gamma is one number, 0 at first, so that a new layer is the identity.
    There is no factor 1 / sqrt(channels). The memory is (B, H W, H W), a quarter of it with `pool`.

    `pool`: f and h are halved by maxima of 2 x 2 places, as in the authors' code; H and W must be at least 2.
    """

    def __init__(self, channels: int, *, pool: bool = True) -> None:
        super().__init__()
        query_channels, value_channels = max(1, channels // 8), max(1, channels // 2)
        self.pool = pool
        self.query = nn.Conv2d(channels, query_channels, 1, bias=False)
        self.key = nn.Conv2d(channels, query_channels, 1, bias=False)
        self.value = nn.Conv2d(channels, value_channels, 1, bias=False)
        self.output = nn.Conv2d(value_channels, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def weights(self, maps: Tensor) -> Tensor:
        """Compute beta, (B, places, places attended to), for maps (B, C, H, W); each row sums to 1."""
        query, key = self.query(maps).flatten(2), self._pooled(self.key(maps)).flatten(2)
        return torch.softmax(query.transpose(1, 2) @ key, dim=2)

    def forward(self, maps: Tensor) -> Tensor:
        """Transform (B, C, H, W) -> (B, C, H, W)."""
        value = self._pooled(self.value(maps)).flatten(2)
        attended = (value @ self.weights(maps).transpose(1, 2)).unflatten(2, maps.shape[2:])
        change: Tensor = self.output(attended)
        return self.gamma * change + maps

    def _pooled(self, maps: Tensor) -> Tensor:
        return max_pool2d(maps, 2) if self.pool else maps
