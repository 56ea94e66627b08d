"""The tables of `text.py`."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from _results import table

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""The 97.5 % quantile of Student's t for so many seeds (Fisher and Yates 1938, table III)."""
DROPPED = 1000
"""Sentences of 10,000 never written, from which on it is said in words."""
LIKELIHOOD, JUDGING, ROUNDS, EACH = 18_720, 46_800, 200, 4680
"""Updates of the published schedule: of the generator by likelihood, of the discriminator before the game; rounds, and
updates of the discriminator in each."""


def mean_of(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half of its 95 % interval by Student's t."""
    half = (
        STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values)) if len(values) in STUDENT else math.nan
    )
    return statistics.mean(values), half


def written(values: Sequence[float], form: str = ".3f") -> str:
    mean, half = mean_of(values)
    return f"{mean:{form}} ± {half:{form}}" if len(values) > 1 else f"{mean:{form}}"


def at_same_oracle(curve: dict[str, dict[str, float]], nll_oracle: float) -> float:
    """NLL_gen of a generator at the temperature at which its NLL_oracle is this, on lines between those measured."""
    points = sorted((point["nll_oracle"], point["nll_gen"]) for point in curve.values())
    pairs = itertools.pairwise(points)
    (x, y), (other_x, other_y) = next((pair for pair in pairs if pair[1][0] >= nll_oracle), (points[-2], points[-1]))
    return y + (other_y - y) * (nll_oracle - x) / (other_x - x)


def sentences_table(found: Sequence[dict[str, Any]]) -> list[str]:
    rows = []
    for arm in found[0]["arms"]:
        ours = [one["arms"][arm] for one in found]
        lost = [one["arms"]["likelihood"]["entropy"] - one["arms"][arm]["entropy"] for one in found]
        cells = [written([one[key] for one in ours], ".4f") for key in ("valid", "entropy", "forward_kl", "reverse_kl")]
        rows.append((arm, *cells, "–" if arm == "likelihood" else written(lost, ".4f")))
    head = ("arm", "valid ↑", "entropy (9.2103 at most)", "KL(data, G) ↓", "KL(G, data) ↓", "entropy lost")
    lowest = min(one["arms"]["likelihood"]["valid"] for one in found)
    kept = min(one["arms"]["game"]["valid"] for one in found)
    worst = max(one["arms"]["likelihood"]["entropy"] - one["arms"]["game"]["entropy"] for one in found)
    return [
        "## The sentences lab",
        f"By enumeration of all 10,000 sentences, nats per sentence; mean of {len(found)} seeds ± half the 95 %"
        " interval.",
        table(head, rows),
        f"Validity after likelihood is at least {lowest:.4f} (aim 0.99), after the game at least {kept:.4f}; the game "
        f"loses at most {worst:.4f} nats of entropy (aim 0.3).",
    ]


def samples_table(found: Sequence[dict[str, Any]]) -> list[str]:
    rows, most, first = [], math.log(10_000), {}
    for gan in dict.fromkeys(one["gan"] for one in found):
        ours = [one for one in found if one["gan"] == gan]
        apart = written([most - one["entropy"] for one in ours])
        counts = written([one["left_out"] for one in ours], ",.0f")
        rows.append(
            (gan, len(ours), *(written([one[key] for one in ours]) for key in ("valid", "novelty")), apart, counts)
        )
        first[gan] = ours[0]["written"]
    head = ("GAN", "seeds", "valid ↑", "novelty (0.74 of the law)", "KL(G, data) ↓", "sentences left out of 10,000 ↓")
    return [
        "## Both GANs, by samples",
        "The same sentences by 100,000 samples, of which a perfect generator would leave out 0.5 sentences, and get a "
        "KL(G, data), which is of the valid ones, of 0.05 for there being no more of them; novelty of 2,000. Samples "
        "cannot tell KL(data, G), which is infinite where a sentence is never written. Mean of seeds ± half the 95 % "
        "interval.",
        table(head, rows),
        *(_dropped(one) for one in found if one["left_out"] > DROPPED),
        *(part for gan, ten in first.items() for part in (f"Ten sentences of {gan}, seed 0:", _quoted(ten))),
    ]


def oracle_table(found: Sequence[dict[str, Any]]) -> list[str]:
    rows, gains = [], {}
    for arm in found[0]["arms"]:
        ours = [one["arms"][arm]["1.0"] for one in found]
        gains[arm] = [
            at_same_oracle(one["arms"]["likelihood"], mine["nll_oracle"]) - mine["nll_gen"]
            for one, mine in zip(found, ours, strict=True)
        ]
        cells = [written([one[key] for one in ours]) for key in ("nll_oracle", "nll_gen", "entropy")]
        rows.append((arm, *cells, "–" if arm == "likelihood" else written(gains[arm], "+.4f").replace("± +", "± ")))
    head = ("arm", "NLL_oracle ↓", "NLL_gen ↓", "own entropy", "better than likelihood as cool")
    temperatures = tuple(found[0]["arms"]["likelihood"])
    curves = [(arm, *(_point(found, arm, temperature) for temperature in temperatures)) for arm in found[0]["arms"]]
    mean, half = mean_of(gains["game"])
    did = "did" if mean - half > 0 else "did not"
    return [
        "## The small oracle",
        f"200 words, 20 tokens, nats per token; mean of {len(found)} seeds ± half the 95 % interval. The oracle's own "
        f"sentences get {statistics.mean(one['real'] for one in found):.3f}.",
        table(head, rows),
        f"**The adversarial phase {did} beat tuned likelihood:** at the same NLL_oracle it gives {mean:+.4f} ± "
        f"{half:.4f} "
        f"nats per token more to held-out sentences than likelihood at another temperature.",
        "Curves over temperature, NLL_oracle / NLL_gen:",
        table(("arm", *temperatures), curves),
    ]


def _point(found: Sequence[dict[str, Any]], arm: str, temperature: str) -> str:
    points = [one["arms"][arm][temperature] for one in found]
    return " / ".join(f"{statistics.mean(point[key] for point in points):.3f}" for key in ("nll_oracle", "nll_gen"))


def original_table(each: Mapping[str, float]) -> list[str]:
    parts = {
        "likelihood": ("likelihood, generator", each["likelihood"], LIKELIHOOD),
        "judging": ("before the game, discriminator", each["discriminator"], JUDGING),
        "generator": ("in the game, generator, 16 roll-outs", each["generator"], ROUNDS),
        "discriminator": ("in the game, discriminator", each["discriminator"], ROUNDS * EACH),
    }
    rows = [(name, f"{one:.3f}", f"{count:,}", f"{one * count / 3600:.1f}") for name, one, count in parts.values()]
    whole = sum(one * count for _, one, count in parts.values()) / 3600
    round_ = each["generator"] + EACH * each["discriminator"]
    return [
        "## The original settings",
        "5,000 words, 20 tokens, batches of 64, the published sizes, one core.",
        table(("phase, player", "seconds an update", "updates published", "hours"), rows),
        f"A round of the game takes {round_:,.0f} s, {each['generator']:.1f} s of it the generator's; the whole "
        f"schedule "
        f"{whole:,.0f} hours. It was not run here.",
    ]


def _dropped(one: Mapping[str, Any]) -> str:
    return (
        f"**{one['gan']} drops modes:** with seed {one['seed']}, {one['valid']:.0%} of what it writes are sentences, "
        f"and {one['left_out'] / 10_000:.0%} of all sentences are never among them."
    )


def _quoted(lines: Sequence[str]) -> str:
    return "```text\n" + "\n".join(lines) + "\n```"
