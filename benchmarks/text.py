"""SeqGAN beside its controls: does the game add anything to likelihood?

    python benchmarks/text.py             about 15 minutes of one core; a restart goes on
    python benchmarks/text.py --only sentences oracle
    python benchmarks/text.py --table     rewrite text.md from results/text.jsonl

How. An item is a task and a seed. The generator learns by likelihood (cosine schedule; rate, dropout and steps tried
out by NLL of held-out sentences; of the oracle at 64 units for their cost: 128 got 0.05 nats per token less in 800
steps), then the discriminator to tell what it writes from the real. From that very state, players and
optimizers, each arm plays as many rounds, one update of each player a round:

  likelihood   no round: tuned maximum likelihood, what the others start from
  game         rewards by the discriminator, with a baseline (the state before the token)
  no baseline  rewards by the discriminator, as published
  constant     every reward is 1, without a baseline (LantaoYu/SeqGAN issue 21)
  shuffled     each sentence gets the rewards of another

Tasks. `sentences`: the lab's grammar, everything by enumeration. `oracle`: the LSTM of seed 0 with 200 words, sentences
of 20; 2,000 samples; NLL_oracle and NLL_gen at the same temperature each time, for five temperatures. `original`: the
published sizes at 5,000 words, seconds of a few updates of each kind, and what the published schedule comes to.

The verdict on the oracle: the game beats likelihood if, at the temperature at which likelihood writes as likely
sentences as the game (the same NLL_oracle), the game gives more likelihood to held-out sentences, beyond the 95 %
interval of the mean over seeds (Student's t). Lower NLL_oracle alone is no merit: any cooler generator has that.
"""

import itertools
import json
import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from _results import Item, Result, Results, in_child, parser, table, write

from equipoise import catalog
from equipoise.nn.recurrent import Recurrent
from equipoise.training.state import TrainingState, begin
from equipoise.training.step import run_step

ARMS: dict[str, dict[str, Any]] = {
    "game": {"baseline": "prefix"},
    "no baseline": {"baseline": "none"},
    "constant": {"baseline": "none", "reward": "constant"},
    "shuffled": {"baseline": "prefix", "reward": "shuffled"},
}
TASKS: dict[str, dict[str, Any]] = {
    "sentences": {"data": "sentences", "gan": "seqgan", "rounds": 100, "seeds": 3},
    "oracle": {"data": "oracle:small", "gan": "seqgan:oracle", "rounds": 50, "seeds": 5},
}
TEMPERATURES = (0.8, 0.9, 1.0, 1.1, 1.2)
SAMPLES, BATCH = 2000, 64
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""The 97.5 % quantile of Student's t for so many seeds (Fisher and Yates 1938, table III)."""
LIKELIHOOD, JUDGING, ROUNDS, EACH = 18_720, 46_800, 200, 4680
"""Updates of the published schedule: of the generator by likelihood, of the discriminator before the game; rounds, and
updates of the discriminator in each."""


class Match:
    """A task at one seed: data, and players that can be put back to where the game begins."""

    def __init__(self, task: str, seed: int) -> None:
        self.about, self.seed = TASKS[task], seed
        self.data = catalog.build("data", self.about["data"]).settled()
        self.stream = self.data.stream("train", BATCH, seed)
        self.start = self.begun({})
        rules = catalog.build("zoo", self.about["gan"])
        self.before = rules.likelihood_steps + rules.judging_steps
        for _ in range(self.before):
            self.step(self.start)

    def begun(self, options: dict[str, Any]) -> TrainingState:
        """Fresh players."""
        recipe = catalog.build("zoo", self.about["gan"], options)
        gan = recipe.build(self.data.spec, torch.Generator().manual_seed(self.seed))
        return begin(gan, gan.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(self.seed + 1))

    def step(self, state: TrainingState) -> None:
        """One step on training sentences."""
        run_step(state, self.stream, state.gan.knobs, 0.0)

    def played(self, arm: str) -> TrainingState:
        """The players after all rounds of an arm."""
        state = self.begun(ARMS[arm])
        state.restore(self.start.tensors(), self.start.values(), "the start")
        for _ in range(self.about["rounds"]):
            self.step(state)
        return state


def writer(state: TrainingState) -> Recurrent:
    network = state.gan.networks["generator"]
    assert isinstance(network, Recurrent)
    return network


def by_enumeration(match: Match, network: Recurrent) -> dict[str, float]:
    """What the lab's grammar tells exactly, nats per sentence."""
    law = match.data.spec.law
    support = law.support()
    given = network.log_likelihood(support)
    total = given.logsumexp(dim=0)
    model = given - total
    truth = law.log_probability(support)
    return {
        "valid": total.exp().item(),
        "entropy": -(model.exp() * model).sum().item(),
        "forward_kl": (truth.exp() * (truth - given)).sum().item(),
        "reverse_kl": (model.exp() * (model - truth)).sum().item(),
    }


def by_oracle(match: Match, network: Recurrent) -> dict[str, dict[str, float]]:
    """Temperature -> NLL_oracle of samples, NLL_gen of held-out sentences, nats per token; and how many differ."""
    length, law = match.data.spec.shape[0], match.data.spec.law
    held_out = match.data.stream("held_out", SAMPLES, 0).batch(0).real
    found = {}
    for temperature in TEMPERATURES:
        cooled = network.at_temperature(temperature)
        made = cooled.sentences(SAMPLES, length, torch.Generator().manual_seed(7))
        found[str(temperature)] = {
            "nll_oracle": -law.log_probability(made).mean().item() / length,
            "nll_gen": -cooled.log_likelihood(held_out).mean().item() / length,
            "entropy": -cooled.log_likelihood(made).mean().item() / length,
            "distinct": len(made.unique(dim=0)) / SAMPLES,
        }
    return found


def measure(item: Item) -> Result:
    torch.set_num_threads(1)
    if item["task"] == "original":
        return original()
    begun = time.process_time()
    match = Match(item["task"], item["seed"])
    judge = by_enumeration if item["task"] == "sentences" else by_oracle
    found: dict[str, Any] = {"likelihood": judge(match, writer(match.start))}
    spent = {"likelihood": time.process_time() - begun}
    for arm in ARMS:
        begun = time.process_time()
        found[arm] = judge(match, writer(match.played(arm)))
        spent[arm] = time.process_time() - begun
    result: dict[str, Any] = {"arms": found, "seconds": spent}
    law, split = match.data.spec.law, match.data.stream("held_out", min(SAMPLES, match.data.count("held_out")), 0)
    real = split.batch(0).real
    result["real"] = -law.log_probability(real).mean().item() / real.shape[1]
    words = match.data.spec.vocabulary
    ten = writer(match.played("game")).sentences(10, real.shape[1], torch.Generator().manual_seed(1))
    result["written"] = [words.text(row) for row in ten.tolist()] if item["task"] == "sentences" else []
    return result


def original() -> Result:
    """Seconds of the processor of one update of each kind, at the published sizes."""
    data = catalog.build("data", "oracle", {"train": 640}).settled()
    stream = data.stream("train", BATCH, 0)
    spent = {}
    for kind, before, judging, count in (
        ("likelihood", 10**6, 0, 4),
        ("both", 0, 0, 1),
        ("discriminator", 0, 10**6, 2),
    ):
        options = {"likelihood_steps": before, "judging_steps": judging, "knobs": {"discriminator_steps": 1}}
        gan = catalog.build("zoo", "seqgan:paper", options).build(data.spec, torch.Generator().manual_seed(0))
        state = begin(gan, gan.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(1))
        if kind != "both":
            run_step(state, stream, gan.knobs, 0.0)
        begun = time.process_time()
        for _ in range(count):
            run_step(state, stream, gan.knobs, 0.0)
        spent[kind] = (time.process_time() - begun) / count
    return {"seconds": {**spent, "generator": spent.pop("both") - spent["discriminator"]}}


def mean_of(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half of its 95 % interval by Student's t."""
    half = (
        STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values)) if len(values) in STUDENT else math.nan
    )
    return statistics.mean(values), half


def written(values: Sequence[float], form: str = ".3f") -> str:
    mean, half = mean_of(values)
    return f"{mean:{form}} ± {half:{form}}"


def at_same_oracle(curve: dict[str, dict[str, float]], nll_oracle: float) -> float:
    """NLL_gen of a generator at the temperature at which its NLL_oracle is this, on lines between those measured."""
    points = sorted((point["nll_oracle"], point["nll_gen"]) for point in curve.values())
    pairs = itertools.pairwise(points)
    (x, y), (other_x, other_y) = next((pair for pair in pairs if pair[1][0] >= nll_oracle), (points[-2], points[-1]))
    return y + (other_y - y) * (nll_oracle - x) / (other_x - x)


def sentences_table(found: Sequence[dict[str, Any]]) -> list[str]:
    rows = []
    for arm in ("likelihood", *ARMS):
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
        "Ten sentences after the game, seed 0:",
        "```text\n" + "\n".join(found[0]["written"]) + "\n```",
    ]


def oracle_table(found: Sequence[dict[str, Any]]) -> list[str]:
    rows, gains = [], {}
    for arm in ("likelihood", *ARMS):
        ours = [one["arms"][arm]["1.0"] for one in found]
        gains[arm] = [
            at_same_oracle(one["arms"]["likelihood"], mine["nll_oracle"]) - mine["nll_gen"]
            for one, mine in zip(found, ours, strict=True)
        ]
        cells = [written([one[key] for one in ours]) for key in ("nll_oracle", "nll_gen", "entropy")]
        rows.append((arm, *cells, "–" if arm == "likelihood" else written(gains[arm], "+.4f").replace("± +", "± ")))
    head = ("arm", "NLL_oracle ↓", "NLL_gen ↓", "own entropy", "better than likelihood as cool")
    curves = [
        (arm, *(_point(found, arm, str(temperature)) for temperature in TEMPERATURES)) for arm in ("likelihood", *ARMS)
    ]
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
        table(("arm", *map(str, TEMPERATURES)), curves),
    ]


def _point(found: Sequence[dict[str, Any]], arm: str, temperature: str) -> str:
    points = [one["arms"][arm][temperature] for one in found]
    return " / ".join(f"{statistics.mean(point[key] for point in points):.3f}" for key in ("nll_oracle", "nll_gen"))


def original_table(found: dict[str, Any]) -> list[str]:
    each = found["seconds"]
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


def write_table(results: Results, items: Sequence[Item]) -> None:
    parts: list[str] = []
    for task, make in (("sentences", sentences_table), ("oracle", oracle_table)):
        found = [one for item in items if item["task"] == task and (one := results.result(item))]
        if len(found) > 1:
            parts += make(found)
    if one := results.result({"task": "original", "seed": 0}):
        parts += original_table(one)
    about = "Five arms from the same players after likelihood. How, and what the arms are: `benchmarks/text.py`."
    write(
        results.path.parents[1] / "text.md",
        "# Text: what the game adds to likelihood",
        about,
        *parts,
        results.head(items),
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--only", nargs="+", metavar="TASK", help="of sentences, oracle, original")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item)))
        return
    items: list[Item] = [{"task": task, "seed": seed} for task in TASKS for seed in range(TASKS[task]["seeds"])]
    items.append({"task": "original", "seed": 0})
    results = Results(asked.out / "results" / "text.jsonl")
    if not asked.table:
        wanted = [item for item in items if not asked.only or item["task"] in asked.only]
        results.measure(wanted, lambda item: in_child(__file__, item, threads=1))
    write_table(results, items)


if __name__ == "__main__":
    main()
