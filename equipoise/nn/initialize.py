"""First weights, drawn from an explicit generator."""

import torch
from torch import Generator, nn

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


@torch.no_grad()
def orthogonal_(network: nn.Module, generator: Generator, gain: float = 1.4) -> None:
    """Orthogonal weights (Saxe 2014), zero biases. 1.4 is about sqrt(2), the gain of rectifiers (He 2015)."""
    for module in network.modules():
        if isinstance(module, _WEIGHTED):
            nn.init.orthogonal_(module.weight, gain, generator=generator)
            if module.bias is not None:
                module.bias.zero_()


@torch.no_grad()
def normal_(network: nn.Module, generator: Generator, std: float = 0.02) -> None:
    """N(0, std) weights, zero biases; scales of batch norm from N(1, std) (Radford 2016, section 4; std 0.02)."""
    for module in network.modules():
        if isinstance(module, (*_WEIGHTED, nn.Embedding)):
            module.weight.normal_(0, std, generator=generator)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            module.weight.normal_(1, std, generator=generator)
        bias = getattr(module, "bias", None)
        if isinstance(bias, torch.Tensor):
            bias.zero_()


@torch.no_grad()
def he_normal_(network: nn.Module, generator: Generator, slope: float = 0.2) -> None:
    """N(0, s) weights, s^2 = 2 / ((1 + slope^2) n), n of them to an output; zero biases (He 2015, equation 15).

    Signals keep their size through leaky rectifiers of that slope. `fan_in_` says how n is counted.
    """
    for module in network.modules():
        if isinstance(module, _WEIGHTED):
            nn.init.kaiming_normal_(module.weight, slope, generator=generator)
            if module.bias is not None:
                module.bias.zero_()


@torch.no_grad()
def fan_in_(network: nn.Module, generator: Generator) -> None:
    """Weights and biases from U(-b, b), b = 1 / sqrt(weights that feed one output) (LeCun 1998, section 4.6).

    Embeddings from N(0, 1). For a transposed convolution of stride s an output is fed by in (k / s)^2 weights; we count
    out k^2 as torch does, which is the same where channels halve while the size doubles.
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
    """N(0, std) for every parameter, biases included, as recurrent networks of text have it (Yu 2017's code: 0.1)."""
    for weight in network.parameters():
        weight.normal_(0, std, generator=generator)
