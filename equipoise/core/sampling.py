"""How to sample from a trained generator. Imports no torch."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from equipoise.errors import SettingError, UnknownNameError

NoiseMode = Literal["fixed", "none"]
SamplerName = Literal["heun", "dpm_2m", "ddim", "ancestral"]
"""Samplers of diffusion models, see :mod:`equipoise.nn.diffusion_samplers`."""
NOISY_SAMPLERS: frozenset[SamplerName] = frozenset({"ancestral"})
"""Samplers that add noise in every step. It depends on all bits of a latent: samples of near latents are not near."""
HINTS = {"guidance": "it needs a diffusion model that was trained with labels and label dropout"}
"""What an option needs to have an effect."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample. Every field is None by default: as the model was trained.

    `truncation`: T > 0; latents lie within [-T, T] (Brock 2019, section 3.1). `psi`: styles are moved towards their
    mean, w' = mean + psi (w - mean), from -1, which mirrors styles at their mean, to 1 and beyond (Karras 2019,
    appendix B). `cutoff`: number of first layers on which psi acts. `noise`: "none" turns off the noise that a
    generator adds to its layers; "fixed" is the noise of its buffers. `steps`: number of evaluations of the network.
    `guidance`: weight w of classifier-free guidance (Ho and Salimans 2022), in units in which 1 is the conditional
    model and 0 the unconditional one. `sampler`: of a diffusion model.
    """

    truncation: float | None = None
    psi: float | None = None
    cutoff: int | None = None
    noise: NoiseMode | None = None
    steps: int | None = None
    guidance: float | None = None
    sampler: SamplerName | None = None

    def __post_init__(self) -> None:
        _check("truncation", self.truncation, above=0.0, advice="use a value such as 1")
        _check("psi", self.psi, least=-1.0, advice="use a value such as 0.7")
        _check("cutoff", self.cutoff, least=0, advice="it is a number of layers")
        _check("steps", self.steps, least=1, advice="use a value such as 5")
        _check("guidance", self.guidance, least=0.0, advice="use a value such as 1.5")
        if self.noise not in (None, "fixed", "none"):
            raise SettingError(f"noise = {self.noise}: it must be fixed or none")
        if self.sampler is not None and self.sampler not in get_args(SamplerName):
            raise UnknownNameError("sampler", self.sampler, get_args(SamplerName))

    def settings(self) -> dict[str, float | int | str]:
        """Return the fields that are set."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def check_acts(self, samplings: frozenset[str], model: str) -> None:
        """Raise SettingError for the first field that is set but has no effect in the model."""
        for name in self.settings():
            if name not in samplings:
                known = f"{model} has: {', '.join(sorted(samplings))}" if samplings else "it has no sampling options"
                raise SettingError(f"{name} has no effect in {model}; {HINTS.get(name, known)}")


def _check(
    name: str, value: float | None, *, least: float | None = None, above: float | None = None, advice: str
) -> None:
    if value is None:
        return
    if not -1e30 < value < 1e30:
        raise SettingError(f"{name} = {value}: it must be finite; {advice}")
    if above is not None and not value > above:
        raise SettingError(f"{name} = {value:g}: it must be above {above:g}; {advice}")
    if least is not None and not value >= least:
        raise SettingError(f"{name} = {value:g}: it must be at least {least:g}; {advice}")


DEFAULT_SAMPLING = Sampling()
