"""The tables of `text.py`."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from _results import table

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""97.5 % quantile of Student's t by number of seeds (Fisher and Yates 1938, table III)."""
DROPPED = 1000
"""A text mentions missing sentences if more than this number of the 10,000 is missing."""
LIKELIHOOD, DISCRIMINATOR, ROUNDS, EACH = 18_720, 23_400, 200, 2340
"""Updates of the published schedule: of the generator by likelihood, of the discriminator before adversarial training;
rounds, and updates of the discriminator in each: half of the published 46,800 and 4,680, which use half as many
sentences each.
"""


UPDATES = "updates of generator, discriminator"


class Schedule(NamedTuple):
    """Updates of the generator by likelihood, of the discriminator before adversarial training; rounds of adversarial
    training, one update of each network per round; and rounds in a run with the suggested settings.
    """

    likelihood: int
    discriminator: int
    rounds: int
    suggested: int

    def updates(self, arm: str) -> str:
        """Return the total updates of the generator and of the discriminator."""
        if arm == "likelihood":
            return f"{self.likelihood:,}, {self.discriminator:,}"
        return f"{self.likelihood:,} + {self.rounds:,}, {self.discriminator:,} + {self.rounds:,}"


def mean_of(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and half of its 95 % interval by Student's t."""
    half = (
        STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values)) if len(values) in STUDENT else math.nan
    )
    return statistics.mean(values), half


def format_mean(values: Sequence[float], form: str = ".3f") -> str:
    mean, half = mean_of(values)
    return f"{mean:{form}} ± {half:{form}}" if len(values) > 1 else f"{mean:{form}}"


def at_same_oracle(curve: dict[str, dict[str, float]], nll_oracle: float) -> float:
    """Return NLL_gen of a generator at the temperature where its NLL_oracle is this, by linear interpolation."""
    points = sorted((point["nll_oracle"], point["nll_gen"]) for point in curve.values())
    pairs = itertools.pairwise(points)
    (x, y), (other_x, other_y) = next((pair for pair in pairs if pair[1][0] >= nll_oracle), (points[-2], points[-1]))
    return y + (other_y - y) * (nll_oracle - x) / (other_x - x)


def gain(curve: dict[str, dict[str, float]], point: Mapping[str, float]) -> float:
    """Return how much lower NLL_gen is than that of likelihood at the same NLL_oracle, in nats per token."""
    return at_same_oracle(curve, point["nll_oracle"]) - point["nll_gen"]


def best_rate(arms: Mapping[str, dict[str, dict[str, float]]]) -> float:
    """Return the learning rate with the largest gain."""
    rates = [name for name in arms if name != "likelihood"]
    return float(max(rates, key=lambda name: gain(arms["likelihood"], arms[name]["1.0"])))


def sentences_table(result: Sequence[dict[str, Any]], schedule: Schedule) -> list[str]:
    rows = []
    for arm in result[0]["arms"]:
        ours = [one["arms"][arm] for one in result]
        lost = [one["arms"]["likelihood"]["entropy"] - one["arms"][arm]["entropy"] for one in result]
        cells = [
            format_mean([one[key] for one in ours], ".4f") for key in ("valid", "entropy", "forward_kl", "reverse_kl")
        ]
        rows.append((arm, schedule.updates(arm), *cells, "–" if arm == "likelihood" else format_mean(lost, ".4f")))
    head = ("arm", UPDATES, "valid ↑", "entropy (at most 9.2103)", "KL(data, G) ↓", "KL(G, data) ↓", "entropy lost")
    lowest = min(one["arms"]["likelihood"]["valid"] for one in result)
    valid_after = min(one["arms"]["game"]["valid"] for one in result)
    worst = max(one["arms"]["likelihood"]["entropy"] - one["arms"]["game"]["entropy"] for one in result)
    return [
        "## Sentences of the lab",
        f"By enumeration of all 10,000 sentences, nats per sentence, after {schedule.rounds} rounds of adversarial "
        f"training, one update of each network per round (a suggested run has {schedule.suggested:,}); mean of "
        f"{len(result)} seeds ± half the 95 % interval.",
        table(head, rows),
        f"Validity is at least {lowest:.4f} after likelihood (target 0.99), and at least {valid_after:.4f} after "
        f"adversarial training, which loses at most {worst:.4f} nats of entropy (target 0.3).",
    ]


def samples_table(result: Sequence[dict[str, Any]]) -> list[str]:
    rows, most, first = [], math.log(10_000), {}
    for model in dict.fromkeys(one["gan"] for one in result):
        ours = [one for one in result if one["gan"] == model]
        divergence = format_mean([most - one["entropy"] for one in ours])
        counts = format_mean([one["left_out"] for one in ours], ",.0f")
        rows.append(
            (
                model,
                len(ours),
                *(format_mean([one[key] for one in ours]) for key in ("valid", "novelty")),
                divergence,
                counts,
            )
        )
        first[model] = ours[0]["written"]
    head = (
        "model",
        "seeds",
        "valid ↑",
        "novelty (0.74 of the data distribution)",
        "KL(G, data) ↓",
        "missing of 10,000 sentences ↓",
    )
    return [
        "## Both models, by samples",
        "The same sentences, by 100,000 samples. A perfect generator would miss 0.5 sentences, and have a KL(G, data), "
        "computed on the valid ones, of 0.05 due to the finite number; novelty is of 2,000 samples. KL(data, G) cannot "
        "be estimated from samples: it is infinite if a sentence never occurs. Mean of seeds ± half the 95 % interval.",
        table(head, rows),
        *(_missing_modes(one) for one in result if one["left_out"] > DROPPED),
        *(part for model, ten in first.items() for part in (f"Ten sentences of {model}, seed 0:", _quote(ten))),
    ]


def tuning_table(tuning: Mapping[str, Any], schedule: Schedule) -> list[str]:
    """Return the section on the learning rates that were compared."""
    arms = tuning["arms"]
    rows = [
        (rate, f"{point['nll_oracle']:.3f}", f"{point['nll_gen']:.3f}", f"{gain(arms['likelihood'], point):+.4f}")
        for rate, curve in arms.items()
        if rate != "likelihood" and (point := curve["1.0"])
    ]
    return [
        "## Learning rate of adversarial training on the small oracle",
        f"Learning rate of the generator, compared over {schedule.rounds} rounds with seed {tuning['seed']}, on the "
        f"held-out sentences of the data set, as for likelihood; {best_rate(arms):g} is used below.",
        table(("lr_g", "NLL_oracle ↓", "NLL_gen ↓", "gain over likelihood at the same NLL_oracle ↑"), rows),
    ]


def oracle_table(result: Sequence[dict[str, Any]], schedule: Schedule, fresh: bool = True) -> list[str]:
    """Return arms, verdict and curves. `fresh`: evaluated on sentences that were not used for tuning."""
    data = "that were not used for tuning" if fresh else "that likelihood was tuned on"
    rows, gains = [], {}
    for arm in result[0]["arms"]:
        ours = [one["arms"][arm]["1.0"] for one in result]
        gains[arm] = [gain(one["arms"]["likelihood"], mine) for one, mine in zip(result, ours, strict=True)]
        cells = [format_mean([one[key] for one in ours]) for key in ("nll_oracle", "nll_gen", "entropy")]
        better = "–" if arm == "likelihood" else format_mean(gains[arm], "+.4f").replace("± +", "± ")
        rows.append((arm, schedule.updates(arm), *cells, better))
    head = (
        "arm",
        UPDATES,
        "NLL_oracle ↓",
        "NLL_gen ↓",
        "entropy of G",
        "gain over likelihood at the same NLL_oracle ↑",
    )
    temperatures = tuple(result[0]["arms"]["likelihood"])
    curves = [(arm, *(_point(result, arm, temperature) for temperature in temperatures)) for arm in result[0]["arms"]]
    mean, half = mean_of(gains["game"])
    verdict = "did" if mean - half > 0 else "did not"
    return [
        "## The small oracle",
        f"200 words, 20 tokens, nats per token; mean of {len(result)} seeds ± half the 95 % interval; NLL_gen of 2,000 "
        f"sentences {data}. The oracle's own sentences have "
        f"{statistics.mean(one['real'] for one in result):.3f}. Adversarial training: {schedule.rounds} rounds, one "
        f"update of each network per round, at lr_g {result[0]['lr_g']:g}. A suggested run has {schedule.suggested:,} "
        f"such rounds; the published schedule {ROUNDS}, with {EACH:,} discriminator updates per generator update.",
        table(head, rows),
        f"**In {schedule.rounds} rounds of one update per network, adversarial training {verdict} beat tuned "
        f"likelihood:** at the same NLL_oracle it gains {mean:+.4f} ± {half:.4f} nats per token of held-out sentences "
        "over likelihood at another temperature. Longer training, and the published schedule, were not measured.",
        "By temperature, NLL_oracle / NLL_gen:",
        table(("arm", *temperatures), curves),
    ]


def _point(result: Sequence[dict[str, Any]], arm: str, temperature: str) -> str:
    points = [one["arms"][arm][temperature] for one in result]
    return " / ".join(f"{statistics.mean(point[key] for point in points):.3f}" for key in ("nll_oracle", "nll_gen"))


def original_table(each: Mapping[str, float]) -> list[str]:
    parts = {
        "likelihood": ("likelihood, generator", each["likelihood"], LIKELIHOOD),
        "judging": ("before adversarial training, discriminator", each["discriminator"], DISCRIMINATOR),
        "generator": ("adversarial, generator, 16 roll-outs", each["generator"], ROUNDS),
        "discriminator": ("adversarial, discriminator", each["discriminator"], ROUNDS * EACH),
    }
    rows = [(name, f"{one:.3f}", f"{count:,}", f"{one * count / 3600:.1f}") for name, one, count in parts.values()]
    whole = sum(one * count for _, one, count in parts.values()) / 3600
    round_ = each["generator"] + EACH * each["discriminator"]
    return [
        "## The original settings",
        "5,000 words, 20 tokens, batches of 64, the published sizes, one core. A discriminator update uses 64 real "
        "and 64 generated sentences; the published 46,800, and 4,680 per round, use 64 of both together.",
        table(("phase, network", "seconds per update", "updates", "hours"), rows),
        f"A round takes {round_:,.0f} s, of which the generator takes {each['generator']:.1f} s; the whole schedule "
        f"{whole:,.0f} hours. It was not run.",
    ]


def _missing_modes(one: Mapping[str, Any]) -> str:
    return (
        f"**{one['gan']} drops modes:** with seed {one['seed']}, {one['valid']:.0%} of its samples are valid, "
        f"and {one['left_out'] / 10_000:.0%} of all sentences never occur."
    )


def _quote(lines: Sequence[str]) -> str:
    return "```text\n" + "\n".join(lines) + "\n```"
