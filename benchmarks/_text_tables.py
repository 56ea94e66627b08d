"""The tables of `text.py`."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from _results import table

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""The 97.5 % quantile of Student's t for so many seeds (Fisher and Yates 1938, table III)."""
DROPPED = 1000
"""Sentences of 10,000 never written, from which on it is said in words."""
LIKELIHOOD, JUDGING, ROUNDS, EACH = 18_720, 23_400, 200, 2340
"""Updates of the published schedule: of the generator by likelihood, of the discriminator before the game; rounds, and
updates of the discriminator in each: half of the published 46,800 and 4,680, which see half as many sentences each."""


UPDATES = "updates of generator, discriminator"


class Schedule(NamedTuple):
    """Updates of the generator by likelihood, of the discriminator before the game; rounds of the game, one update of
    each player in each; and rounds of a run by the suggestion of the data.
    """

    likelihood: int
    judging: int
    rounds: int
    suggested: int

    def updates(self, arm: str) -> str:
        """Of the generator, and of the discriminator, all in all."""
        if arm == "likelihood":
            return f"{self.likelihood:,}, {self.judging:,}"
        return f"{self.likelihood:,} + {self.rounds:,}, {self.judging:,} + {self.rounds:,}"


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


def gain(curve: dict[str, dict[str, float]], point: Mapping[str, float]) -> float:
    """Nats per token that a generator gives more to real sentences than likelihood, by its curve, where as cool."""
    return at_same_oracle(curve, point["nll_oracle"]) - point["nll_gen"]


def best_rate(arms: Mapping[str, dict[str, dict[str, float]]]) -> float:
    """Of the rates that were tried out, the one that gains most."""
    rates = [name for name in arms if name != "likelihood"]
    return float(max(rates, key=lambda name: gain(arms["likelihood"], arms[name]["1.0"])))


def sentences_table(result: Sequence[dict[str, Any]], schedule: Schedule) -> list[str]:
    rows = []
    for arm in result[0]["arms"]:
        ours = [one["arms"][arm] for one in result]
        lost = [one["arms"]["likelihood"]["entropy"] - one["arms"][arm]["entropy"] for one in result]
        cells = [written([one[key] for one in ours], ".4f") for key in ("valid", "entropy", "forward_kl", "reverse_kl")]
        rows.append((arm, schedule.updates(arm), *cells, "–" if arm == "likelihood" else written(lost, ".4f")))
    head = ("arm", UPDATES, "valid ↑", "entropy (9.2103 at most)", "KL(data, G) ↓", "KL(G, data) ↓", "entropy lost")
    lowest = min(one["arms"]["likelihood"]["valid"] for one in result)
    kept = min(one["arms"]["game"]["valid"] for one in result)
    worst = max(one["arms"]["likelihood"]["entropy"] - one["arms"]["game"]["entropy"] for one in result)
    return [
        "## The sentences lab",
        f"By enumeration of all 10,000 sentences, nats per sentence, after {schedule.rounds} rounds of the game, one "
        f"update of each player a round (the suggested run plays {schedule.suggested:,}); mean of {len(result)} seeds "
        "± half the 95 % interval.",
        table(head, rows),
        f"Validity after likelihood is at least {lowest:.4f} (aim 0.99), after the game at least {kept:.4f}; the game "
        f"loses at most {worst:.4f} nats of entropy (aim 0.3).",
    ]


def samples_table(result: Sequence[dict[str, Any]]) -> list[str]:
    rows, most, first = [], math.log(10_000), {}
    for model in dict.fromkeys(one["gan"] for one in result):
        ours = [one for one in result if one["gan"] == model]
        apart = written([most - one["entropy"] for one in ours])
        counts = written([one["left_out"] for one in ours], ",.0f")
        rows.append(
            (model, len(ours), *(written([one[key] for one in ours]) for key in ("valid", "novelty")), apart, counts)
        )
        first[model] = ours[0]["written"]
    head = ("GAN", "seeds", "valid ↑", "novelty (0.74 of the law)", "KL(G, data) ↓", "sentences left out of 10,000 ↓")
    return [
        "## Both GANs, by samples",
        "The same sentences by 100,000 samples, of which a perfect generator would leave out 0.5 sentences, and get a "
        "KL(G, data), which is of the valid ones, of 0.05 for there being no more of them; novelty of 2,000. Samples "
        "cannot tell KL(data, G), which is infinite where a sentence is never written. Mean of seeds ± half the 95 % "
        "interval.",
        table(head, rows),
        *(_dropped(one) for one in result if one["left_out"] > DROPPED),
        *(part for model, ten in first.items() for part in (f"Ten sentences of {model}, seed 0:", _quoted(ten))),
    ]


def tuning_table(tried: Mapping[str, Any], schedule: Schedule) -> list[str]:
    """Of the rates that were tried out."""
    arms = tried["arms"]
    rows = [
        (rate, f"{point['nll_oracle']:.3f}", f"{point['nll_gen']:.3f}", f"{gain(arms['likelihood'], point):+.4f}")
        for rate, curve in arms.items()
        if rate != "likelihood" and (point := curve["1.0"])
    ]
    return [
        "## The rate of the game on the small oracle",
        f"The generator's learning rate, tried out in {schedule.rounds} rounds from seed {tried['seed']}, by the "
        f"sentences held out of the data set, as likelihood was; {best_rate(arms):g} is taken below.",
        table(("lr_g", "NLL_oracle ↓", "NLL_gen ↓", "better than likelihood as cool ↑"), rows),
    ]


def oracle_table(result: Sequence[dict[str, Any]], schedule: Schedule, fresh: bool = True) -> list[str]:
    """The arms, the verdict and the curves. `fresh`: judged by sentences that no tuning has seen."""
    judges = "that no tuning has seen" if fresh else "that likelihood was tuned by"
    rows, gains = [], {}
    for arm in result[0]["arms"]:
        ours = [one["arms"][arm]["1.0"] for one in result]
        gains[arm] = [gain(one["arms"]["likelihood"], mine) for one, mine in zip(result, ours, strict=True)]
        cells = [written([one[key] for one in ours]) for key in ("nll_oracle", "nll_gen", "entropy")]
        better = "–" if arm == "likelihood" else written(gains[arm], "+.4f").replace("± +", "± ")
        rows.append((arm, schedule.updates(arm), *cells, better))
    head = ("arm", UPDATES, "NLL_oracle ↓", "NLL_gen ↓", "own entropy", "better than likelihood as cool ↑")
    temperatures = tuple(result[0]["arms"]["likelihood"])
    curves = [(arm, *(_point(result, arm, temperature) for temperature in temperatures)) for arm in result[0]["arms"]]
    mean, half = mean_of(gains["game"])
    did = "did" if mean - half > 0 else "did not"
    return [
        "## The small oracle",
        f"200 words, 20 tokens, nats per token; mean of {len(result)} seeds ± half the 95 % interval; NLL_gen of 2,000 "
        f"sentences {judges}. The oracle gives its own sentences "
        f"{statistics.mean(one['real'] for one in result):.3f}. The game: {schedule.rounds} rounds, one update of each "
        f"player a round, at lr_g {result[0]['lr_g']:g}. A run by the suggestion of the data plays "
        f"{schedule.suggested:,} such rounds; the published schedule {ROUNDS}, with {EACH:,} updates of the "
        "discriminator for one of the generator.",
        table(head, rows),
        f"**In {schedule.rounds} rounds of one update a player the adversarial phase {did} beat tuned likelihood:** at "
        f"the same NLL_oracle it gives {mean:+.4f} ± {half:.4f} nats per token more to held-out sentences than "
        "likelihood at another temperature. Longer games, and the published one, were not measured.",
        "Curves over temperature, NLL_oracle / NLL_gen:",
        table(("arm", *temperatures), curves),
    ]


def _point(result: Sequence[dict[str, Any]], arm: str, temperature: str) -> str:
    points = [one["arms"][arm][temperature] for one in result]
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
        "5,000 words, 20 tokens, batches of 64, the published sizes, one core. An update of the discriminator sees 64 "
        "real and 64 written sentences; the published 46,800, and 4,680 a round, see 64 of both together.",
        table(("phase, player", "seconds an update", "updates", "hours"), rows),
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
