"""Initialisation of weights with an explicit random generator."""

import torch
from torch import Generator, nn

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
_NORMALISED = (nn.BatchNorm1d, nn.BatchNorm2d)


@torch.no_grad()
def orthogonal_(network: nn.Module, generator: Generator, gain: float = 1.4) -> None:
    """Initialise with orthogonal weights (Saxe 2014), zero biases. 1.4 is about sqrt(2), the gain of ReLU (He 2015)."""
    for module in network.modules():
        if isinstance(module, _WEIGHTED):
            nn.init.orthogonal_(module.weight, gain, generator=generator)
            if module.bias is not None:
                module.bias.zero_()


@torch.no_grad()
def normal_(network: nn.Module, generator: Generator, std: float = 0.02) -> None:
    """Initialise with N(0, std) weights, zero biases; scales of batch normalisation from N(1, std).

    Radford 2016, section 4, with std 0.02.
    """
    for module in network.modules():
        if isinstance(module, (*_WEIGHTED, nn.Embedding)):
            module.weight.normal_(0, std, generator=generator)
        elif isinstance(module, _NORMALISED) and module.affine:
            module.weight.normal_(1, std, generator=generator)
        bias = getattr(module, "bias", None)
        if isinstance(bias, torch.Tensor):
            bias.zero_()


@torch.no_grad()
def he_normal_(network: nn.Module, generator: Generator, slope: float = 0.2) -> None:
    """Initialise with N(0, s) weights, s^2 = 2 / ((1 + slope^2) n), zero biases (He 2015, equation 15).

    n is the number of weights per output, counted as in `fan_in_`. This preserves the variance of activations through
    leaky ReLUs of that slope.
    """
    for module in network.modules():
        if isinstance(module, _WEIGHTED):
            nn.init.kaiming_normal_(module.weight, slope, generator=generator)
            if module.bias is not None:
                module.bias.zero_()


@torch.no_grad()
def fan_in_(network: nn.Module, generator: Generator) -> None:
    """Initialise weights and biases from U(-b, b), b = 1 / sqrt(weights per output) (LeCun 1998, section 4.6).

    Embeddings are initialised from N(0, 1). A transposed convolution of stride s has in (k / s)^2 weights per output;
    out k^2 is used, as in torch, which is equal if channels halve while the size doubles.
    """
    for module in network.modules():
        if isinstance(module, _WEIGHTED):
            bound = module.weight[0].numel() ** -0.5
            module.weight.uniform_(-bound, bound, generator=generator)
            if module.bias is not None:
                module.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0, 1, generator=generator)


@torch.no_grad()
def all_normal_(network: nn.Module, generator: Generator, std: float) -> None:
    """Initialise every parameter, biases included, from N(0, std), as usual for text (Yu 2017's code: 0.1)."""
    for weight in network.parameters():
        weight.normal_(0, std, generator=generator)
