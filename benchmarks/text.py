"""SeqGAN beside its controls: does the game add anything to likelihood?

    python benchmarks/text.py             about 20 minutes of one core; a restart goes on
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

Tasks. `sentences`: the lab's grammar, everything by enumeration. `samples`: the same grammar by 100,000 samples, which
textgan must be measured by, for it gives no likelihood; seqgan after its game beside it. textgan takes the steps of
docs/labs/sentences.md: 300 of autoencoding, 100 of swaps, 1,200 of the game. `oracle`: the LSTM of seed 0 with 200
words, sentences of 20; 2,000 samples; NLL_oracle and NLL_gen at the same temperature each time, for five temperatures.
`original`: the published sizes at 5,000 words, seconds of a few updates of each kind, and what the published schedule
comes to.

The verdict on the oracle: the game beats likelihood if, at the temperature at which likelihood writes as likely
sentences as the game (the same NLL_oracle), the game gives more likelihood to held-out sentences, beyond the 95 %
interval of the mean over seeds (Student's t). Lower NLL_oracle alone is no merit: any cooler generator has that.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

import torch
from _results import Item, Result, Results, in_child, parser, write
from _text_tables import oracle_table, original_table, samples_table, sentences_table
from torch import Tensor

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
MATCHING = {"autoencoding_steps": 300, "swapping_steps": 100}
MATCHING_STEPS = 1600
WRITERS = {"seqgan": 3, "textgan": 1}
"""Seeds of each; a run of textgan takes a minute."""
WRITTEN = 100_000
"""Samples of `samples`; a perfect generator leaves out 0.5 of 10,000 sentences among so many."""


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
    if item["task"] == "samples":
        return by_samples(item)
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
    return result


def by_samples(item: Item) -> Result:
    """Of one GAN on the lab's sentences, what samples tell."""
    begun = time.process_time()
    state = matching(item["seed"]) if item["gan"] == "textgan" else Match("sentences", item["seed"]).played("game")
    spent = time.process_time() - begun
    source, networks = torch.Generator().manual_seed(7), state.gan.networks
    parts = (state.gan.latent(SAMPLES, source, None) for _ in range(WRITTEN // SAMPLES))
    made = torch.cat([state.gan.generate(networks, latent, None).long() for latent in parts])
    data = catalog.build("data", "sentences").settled()
    right = data.spec.law.log_probability(made).isfinite()
    times = made[right].unique(dim=0, return_counts=True)[1].double()
    model = times / times.sum()
    known = {tuple(row) for row in data.stream("train", data.count("train"), 0).batch(0).real.tolist()}
    first = {tuple(row) for row in made[:SAMPLES].tolist()}
    return {
        "valid": right.double().mean().item(),
        "entropy": -(model * model.log()).sum().item(),
        "left_out": len(data.spec.law.support()) - len(times),
        "novelty": len(first - known) / SAMPLES,
        "written": texts(data, made[:10]),
        "seconds": {item["gan"]: spent},
    }


def matching(seed: int) -> TrainingState:
    """textgan at the end of its run."""
    data = catalog.build("data", "sentences").settled()
    gan = catalog.build("zoo", "textgan", MATCHING).build(data.spec, torch.Generator().manual_seed(seed))
    stream = data.stream("train", BATCH, seed)
    state = begin(gan, gan.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(seed + 1))
    for step in range(MATCHING_STEPS):
        run_step(state, stream, gan.knobs, step / MATCHING_STEPS)
    return state


def texts(data: Any, rows: Tensor) -> list[str]:
    """Sentences as they are read."""
    return [data.spec.vocabulary.text(row) for row in rows.tolist()]


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


def write_table(results: Results, items: Sequence[Item]) -> None:
    parts: list[str] = []
    for task, make in (("sentences", sentences_table), ("samples", samples_table), ("oracle", oracle_table)):
        found = [{**item, **one} for item in items if item["task"] == task and (one := results.result(item))]
        if len(found) > 1:
            parts += make(found)
    if one := results.result({"task": "original", "seed": 0}):
        parts += original_table(one["seconds"])
    about = "Five arms from the same players after likelihood, and textgan, which has none. How: `benchmarks/text.py`."
    write(
        results.path.parents[1] / "text.md",
        "# Text: what the game adds to likelihood",
        about,
        *parts,
        results.head(items),
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--only", nargs="+", metavar="TASK", help="of sentences, samples, oracle, original")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item)))
        return
    items: list[Item] = [{"task": task, "seed": seed} for task in TASKS for seed in range(TASKS[task]["seeds"])]
    items += [{"task": "samples", "gan": gan, "seed": seed} for gan, count in WRITERS.items() for seed in range(count)]
    items.append({"task": "original", "seed": 0})
    results = Results(asked.out / "results" / "text.jsonl")
    if not asked.table:
        wanted = [item for item in items if not asked.only or item["task"] in asked.only]
        results.measure(wanted, lambda item: in_child(__file__, item, threads=1))
    write_table(results, items)


if __name__ == "__main__":
    main()
