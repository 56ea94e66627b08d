"""Kinds of policies: their features, heads, and untrained networks. An untrained policy outputs 0.

| kind | features | heads | base controller |
| --- | --- | --- | --- |
| residual | 23 features of the run | ratio and pace of the learning rates, R1 and R2, instance noise | rank |
| time_only | progress alone | the same | annealed |
| brief | losses, gradient norms, progress | noise_var, augmentation_strength, regularization_weight | fixed |
| ppo | progress, pixel FID, losses | learning rate 1e-4–3e-4, beta1 0.3–0.7, every 50 steps | fixed |
| suite | 7 features of the run | augment_p, R1, R2 and gradient penalties, pace of the learning rates | rank |

The reaches and steps of the first two kinds were chosen for this package: the ratio of the learning rates by 2 octaves,
their pace by 4, penalties by 3, noise by 0.2, in steps small enough for Adam's moments to follow. The bounds and
initial values of the last two are from the brief.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.errors import UnknownNameError
from equipoise.policy.actions import Head
from equipoise.policy.features import feature_set
from equipoise.policy.files import BaseController, Policy
from equipoise.policy.network import PolicyNetwork, Squash, count_outputs

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


AUGMENTATION = Head("augment_p", "offset", {"augment_p": 1.0}, reach=0.6, step=0.25)
PENALTY = Head("penalty", "octaves", {"r1_gamma": 1.0, "r2_gamma": 1.0, "gp_weight": 1.0}, reach=3.0, step=0.25)
SUITE_PACE = Head("pace", "octaves", {"lr_d": 1.0, "lr_g": 1.0}, reach=3.0, step=0.25)
SUITE = (AUGMENTATION, PENALTY, SUITE_PACE)


@dataclass(frozen=True)
class PolicyKind:
    """A kind of policy; for the fields see Policy. `hidden`: units of each hidden layer of the actor."""

    features: str
    heads: tuple[Head, ...]
    base: BaseController
    hidden: Sequence[int] = ()
    every: float = 1 / 40
    squash: Squash = "tanh"


KINDS: Mapping[str, PolicyKind] = {
    "residual": PolicyKind("residual", (RATIO, PACE, GAMMA, NOISE), "rank"),
    "time_only": PolicyKind("time_only", (RATIO, PACE, GAMMA, NOISE), "annealed"),
    "brief": PolicyKind("brief", (NOISE_VAR, STRENGTH, WEIGHT), "fixed", hidden=(8,)),
    "suite": PolicyKind("suite", SUITE, "rank"),
    "ppo_suite": PolicyKind("suite", SUITE, "rank", hidden=(16,), squash="choice"),
    "ppo": PolicyKind("ppo", (RATE, BETA1), "fixed", hidden=(16, 16), every=50.0, squash="clip"),
}


def untrained_policy(name: str, seed: int = 0) -> Policy:
    """Return an untrained policy of a kind. Raises UnknownNameError for an unknown kind."""
    if name not in KINDS:
        raise UnknownNameError("kind of policy", name, KINDS)
    kind = KINDS[name]
    inputs = len(feature_set(kind.features).all_names([head.name for head in kind.heads]))
    sizes = (inputs, *kind.hidden, count_outputs(len(kind.heads), kind.squash))
    actor = PolicyNetwork.start(sizes, kind.squash, np.random.default_rng(seed))
    return Policy(kind.features, kind.heads, actor, kind.base, kind.every)
