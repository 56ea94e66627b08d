"""Policies before they were trained: what each kind sees and turns. All say 0, which leaves heads where they begin.

| kind | sees | turns | on |
| --- | --- | --- | --- |
| residual | 23 features of the run | ratio and pace of the learning rates, R1 and R2, instance noise | rank |
| time_only | progress alone | the same | annealed |
| brief | losses, gradient norms, progress | noise_var, augmentation_strength, regularization_weight | fixed |
| ppo | progress, pixel FID, losses | learning rate 1e-4–3e-4, beta1 0.3–0.7, every 50 steps | fixed |

Reaches and steps of the first two are our choice: the ratio of the learning rates by 2 octaves, their pace by 4,
penalties by 3, noise by 0.2, in steps small enough for Adam's moments to follow. Bounds and initial values of the last
two are the brief's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.errors import UnknownNameError
from equipoise.policy.actions import Head
from equipoise.policy.features import feature_set
from equipoise.policy.files import Base, Policy
from equipoise.policy.network import Network, Squash

RATIO = Head("lr_ratio", "octaves", {"lr_d": 0.5, "lr_g": -0.5}, reach=2.0, step=0.125)
PACE = Head("pace", "octaves", {"lr_d": 1.0, "lr_g": 1.0}, reach=4.0, step=0.125)
GAMMA = Head("gamma", "octaves", {"r1_gamma": 1.0, "r2_gamma": 1.0}, reach=3.0, step=1 / 6)
NOISE = Head("noise", "offset", {"instance_noise": 1.0}, reach=0.2, step=0.25)

NOISE_VAR = Head("noise_var", "between", {"instance_noise": 1.0}, low=0.0, initial=1.0, high=2.0, unit="variance")
STRENGTH = Head("augmentation_strength", "between", {"augment_p": 1.0}, low=0.0, initial=0.5, high=1.0, unit="strength")
WEIGHT = Head(
    "regularization_weight",
    "between",
    {"gp_weight": 2.0, "r1_gamma": 1.0},
    low=0.0,
    initial=5.0,
    high=20.0,
    one=True,
)
RATE = Head("learning_rate", "between", {"lr_g": 1.0, "lr_d": 1.0}, low=1e-4, initial=2e-4, high=3e-4)
BETA1 = Head("beta1", "between", {"beta1": 1.0}, low=0.3, initial=0.5, high=0.7)


@dataclass(frozen=True)
class Kind:
    """What a kind of policy is made of: see Policy. `hidden`: units of each hidden layer of its actor."""

    features: str
    heads: tuple[Head, ...]
    base: Base
    hidden: Sequence[int] = ()
    every: float = 1 / 40
    squash: Squash = "tanh"


KINDS: Mapping[str, Kind] = {
    "residual": Kind("residual", (RATIO, PACE, GAMMA, NOISE), "rank"),
    "time_only": Kind("time_only", (RATIO, PACE, GAMMA, NOISE), "annealed"),
    "brief": Kind("brief", (NOISE_VAR, STRENGTH, WEIGHT), "fixed", hidden=(8,)),
    "ppo": Kind("ppo", (RATE, BETA1), "fixed", hidden=(16, 16), every=50.0, squash="clip"),
}


def blank(name: str, seed: int = 0) -> Policy:
    """A policy of this kind that was not trained. Raises UnknownNameError."""
    if name not in KINDS:
        raise UnknownNameError("kind of policy", name, KINDS)
    kind = KINDS[name]
    entry = len(feature_set(kind.features).named([head.name for head in kind.heads]))
    sizes = (entry, *kind.hidden, len(kind.heads))
    actor = Network.start(sizes, kind.squash, np.random.default_rng(seed))
    return Policy(kind.features, kind.heads, actor, kind.base, kind.every)
