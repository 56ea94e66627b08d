"""How BigGAN gives the latent and the label to the parts of its generator (Brock 2019, section 3 and appendix B)."""

from functools import partial

import torch
from torch import Tensor, nn

from equipoise.errors import SettingError
from equipoise.models._resnets import GeneratorInputs, InputRouting


class SharedRouting(InputRouting):
    """One embedding of the label for all normalisations, concatenated with a part of the latent for each size.

    The latent is divided into `levels` + 1 chunks: one for the first layer and one for each size. With `whole`, as in
    BigGAN-deep, all of them read the whole latent, and the first layer reads the embedding, too.
    """

    def __init__(self, latent_dim: int, embedding: int, classes: int, levels: int, *, whole: bool) -> None:
        """`embedding`: its length. `classes`: 0 for none. Raises SettingError for a latent shorter than its chunks."""
        super().__init__()
        self.whole = whole
        self.sizes = [latent_dim] * (levels + 1) if whole else chunk_sizes(latent_dim, levels + 1)
        self.embedding = nn.Embedding(classes, embedding) if classes else None
        label_features = embedding if classes else 0
        features = [label_features + size for size in self.sizes]
        self.first_features = features[0] if whole else self.sizes[0]
        self.affines = [partial(nn.Linear, number, bias=False) for number in features[1:]]

    def forward(self, latent: Tensor, labels: Tensor | None) -> GeneratorInputs:
        """Divide latents (B, L) and embed labels (B,)."""
        label = [] if self.embedding is None else [self.embedding(labels)]
        if self.whole:
            condition = torch.cat([*label, latent], dim=1)
            return GeneratorInputs(condition, [condition] * len(self.affines))
        first, *chunks = latent.split(self.sizes, dim=1)
        return GeneratorInputs(first, [torch.cat([*label, chunk], dim=1) for chunk in chunks])


def chunk_sizes(latent_dim: int, chunks: int) -> list[int]:
    """Divide a latent into chunks that differ by at most 1 in length, the longer ones first."""
    if latent_dim < chunks:
        raise SettingError(
            f"latent_dim = {latent_dim}: it must be at least {chunks}, 1 for the first layer and 1 per size of maps"
        )
    shortest, longer = divmod(latent_dim, chunks)
    return [shortest + 1] * longer + [shortest] * (chunks - longer)
