"""SeqGAN beside its controls: does the game add anything to likelihood?

    python benchmarks/text.py             about 35 minutes of one core; a restart goes on
    python benchmarks/text.py --only sentences oracle
    python benchmarks/text.py --only oracle --rounds 50
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
docs/tutorials/sentences.md: 300 of autoencoding, 100 of swaps, 1,200 of the game. `oracle`: the LSTM of seed 0 with 200
words, sentences of 20; 2,000 samples; NLL_oracle and NLL_gen at the same temperature each time, for five temperatures.
`original`: the published sizes at 5,000 words, seconds of a few updates of each kind, and what the published schedule
comes to.

On the oracle the game is tuned, too: --rounds rounds (200, as many as published) at three rates of the generator, from
a seed of its own, by sentences held out of the data set, as likelihood was; the best rate is that of all arms. What
decides are sentences that the oracle writes anew, which no tuning has seen. "no baseline" is left out there: by 50
rounds it had lost 0.07 nats per token, and it takes as long as the game.

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
from _text_tables import Schedule, best_rate, oracle_table, original_table, samples_table, sentences_table, tuning_table
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.metric import Bootstrap, ReferenceSet
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
    "sentences": {"data": "sentences", "gan": "seqgan", "arms": tuple(ARMS), "seeds": 3},
    "oracle": {"data": "oracle:small", "gan": "seqgan:oracle", "arms": ("game", "constant", "shuffled"), "seeds": 5},
}
ROUNDS = {"sentences": 100, "oracle": 200}
RATES = (3e-4, 1e-3, 3e-3)
"""Of the generator in the game, that are tried out."""
TUNING_SEED = 100
"""None of those that the verdict is from."""
FRESH = 2
"""The stream of the oracle's sentences that decide; 0 is trained on, 1 held out."""
ENUMERATED = {
    "valid": "sentence_mass",
    "entropy": "sentence_entropy",
    "forward_kl": "sentence_forward_kl",
    "reverse_kl": "sentence_reverse_kl",
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

    def __init__(self, task: str, seed: int, rounds: int) -> None:
        self.about, self.seed, self.rounds = TASKS[task], seed, rounds
        self.data = catalog.build("data", self.about["data"]).resolve()
        self.stream = self.data.stream("train", BATCH, seed)
        self.start = self.begun({})
        rules = catalog.build("models", self.about["gan"])
        self.before = rules.likelihood_steps + rules.judging_steps
        for _ in range(self.before):
            self.step(self.start)

    def begun(self, options: dict[str, Any]) -> TrainingState:
        """Fresh players."""
        recipe = catalog.build("models", self.about["gan"], options)
        model = recipe.build(self.data.spec, torch.Generator().manual_seed(self.seed))
        return begin(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(self.seed + 1))

    def step(self, state: TrainingState) -> None:
        """One step on training sentences."""
        run_step(state, self.stream, state.model.knobs, 0.0)

    def played(self, arm: str, rate: float | None = None) -> TrainingState:
        """The players after all rounds of an arm, the generator at a rate; None for that of its preset."""
        state = self.begun({**ARMS[arm], **({} if rate is None else {"knobs": {"lr_g": rate}})})
        state.restore(self.start.tensors(), self.start.values(), "the start")
        for _ in range(self.rounds):
            self.step(state)
        return state


def writer(state: TrainingState) -> Recurrent:
    network = state.model.networks["generator"]
    assert isinstance(network, Recurrent)
    return network


def by_enumeration(match: Match, network: Recurrent) -> dict[str, float]:
    """What the lab's grammar tells exactly, nats per sentence."""
    real = ReferenceSet(match.data.stream("held_out", 1, 0).batch(0).real, spec=match.data.spec)
    return {
        key: catalog.build("metrics", name).given(network.log_likelihood, real, Bootstrap()).value
        for key, name in ENUMERATED.items()
    }


def by_oracle(match: Match, network: Recurrent, real: Tensor) -> dict[str, dict[str, float]]:
    """Temperature -> NLL_oracle of samples, NLL_gen of real sentences, nats per token; and how many samples differ."""
    length, distribution = match.data.spec.shape[0], match.data.spec.distribution
    result = {}
    for temperature in TEMPERATURES:
        cooled = network.at_temperature(temperature)
        made = cooled.sentences(SAMPLES, length, torch.Generator().manual_seed(7))
        result[str(temperature)] = {
            "nll_oracle": -distribution.log_probability(made).mean().item() / length,
            "nll_gen": -cooled.log_likelihood(real).mean().item() / length,
            "entropy": -cooled.log_likelihood(made).mean().item() / length,
            "distinct": len(made.unique(dim=0)) / SAMPLES,
        }
    return result


def measure(item: Item) -> Result:
    torch.set_num_threads(1)
    if item["task"] == "original":
        return original()
    if item["task"] == "samples":
        return by_samples(item)
    if item["task"] == "oracle tuning":
        return tried_out(item)
    begun = time.process_time()
    match = Match(item["task"], item["seed"], item.get("rounds", ROUNDS[item["task"]]))
    distribution, on_oracle = match.data.spec.distribution, item["task"] == "oracle"
    real = distribution.drawn(SAMPLES, FRESH) if on_oracle else match.data.stream("held_out", 1000, 0).batch(0).real

    def judge(network: Recurrent) -> Any:
        return by_oracle(match, network, real) if on_oracle else by_enumeration(match, network)

    result: dict[str, Any] = {"likelihood": judge(writer(match.start))}
    spent = {"likelihood": time.process_time() - begun}
    for arm in match.about["arms"]:
        begun = time.process_time()
        result[arm] = judge(writer(match.played(arm, item.get("lr_g"))))
        spent[arm] = time.process_time() - begun
    nll = -distribution.log_probability(real).mean().item() / real.shape[1]
    return {"arms": result, "seconds": spent, "real": nll}


def tried_out(item: Item) -> Result:
    """The game at each of some rates, by the sentences that are held out of the data set."""
    begun = time.process_time()
    match = Match("oracle", item["seed"], item["rounds"])
    held_out = match.data.stream("held_out", SAMPLES, 0).batch(0).real
    result = {"likelihood": by_oracle(match, writer(match.start), held_out)}
    for rate in item["rates"]:
        result[f"{rate:g}"] = by_oracle(match, writer(match.played("game", rate)), held_out)
    return {"arms": result, "seconds": {"all": time.process_time() - begun}}


def by_samples(item: Item) -> Result:
    """Of one GAN on the lab's sentences, what samples tell."""
    begun = time.process_time()
    plays = item["gan"] == "seqgan"
    rounds = ROUNDS["sentences"]
    state = Match("sentences", item["seed"], rounds).played("game") if plays else matching(item["seed"])
    spent = time.process_time() - begun
    source, networks = torch.Generator().manual_seed(7), state.model.networks
    parts = (state.model.latent(SAMPLES, source, None) for _ in range(WRITTEN // SAMPLES))
    made = torch.cat([state.model.generate(networks, latent, None).long() for latent in parts])
    data = catalog.build("data", "sentences").resolve()
    right = data.spec.distribution.log_probability(made).isfinite()
    times = made[right].unique(dim=0, return_counts=True)[1].double()
    model = times / times.sum()
    known = {tuple(row) for row in data.stream("train", data.count("train"), 0).batch(0).real.tolist()}
    first = {tuple(row) for row in made[:SAMPLES].tolist()}
    return {
        "valid": right.double().mean().item(),
        "entropy": -(model * model.log()).sum().item(),
        "left_out": len(data.spec.distribution.support()) - len(times),
        "novelty": len(first - known) / SAMPLES,
        "written": texts(data, made[:10]),
        "seconds": {item["gan"]: spent},
    }


def matching(seed: int) -> TrainingState:
    """textgan at the end of its run."""
    data = catalog.build("data", "sentences").resolve()
    model = catalog.build("models", "textgan", MATCHING).build(data.spec, torch.Generator().manual_seed(seed))
    stream = data.stream("train", BATCH, seed)
    state = begin(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(seed + 1))
    for step in range(MATCHING_STEPS):
        run_step(state, stream, model.knobs, step / MATCHING_STEPS)
    return state


def texts(data: Any, rows: Tensor) -> list[str]:
    """Sentences as they are read."""
    return [data.spec.vocabulary.text(row) for row in rows.tolist()]


def original() -> Result:
    """Seconds of the processor of one update of each kind, at the published sizes."""
    data = catalog.build("data", "oracle", {"train": 640}).resolve()
    stream = data.stream("train", BATCH, 0)
    spent = {}
    for kind, before, judging, count in (
        ("likelihood", 10**6, 0, 4),
        ("both", 0, 0, 1),
        ("discriminator", 0, 10**6, 2),
    ):
        options = {"likelihood_steps": before, "judging_steps": judging, "knobs": {"discriminator_steps": 1}}
        model = catalog.build("models", "seqgan:paper", options).build(data.spec, torch.Generator().manual_seed(0))
        state = begin(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(1))
        if kind != "both":
            run_step(state, stream, model.knobs, 0.0)
        begun = time.process_time()
        for _ in range(count):
            run_step(state, stream, model.knobs, 0.0)
        spent[kind] = (time.process_time() - begun) / count
    return {"seconds": {**spent, "generator": spent.pop("both") - spent["discriminator"]}}


def asked_for(results: Results, rounds: int) -> list[Item]:
    """All items. Those of the oracle take the rate that was best, None as long as nobody tried any out."""
    items: list[Item] = [{"task": "sentences", "seed": seed} for seed in range(TASKS["sentences"]["seeds"])]
    items += [{"task": "samples", "gan": "seqgan", "seed": seed} for seed in range(WRITERS["seqgan"])]
    about = {"gan": "textgan", "sharpens": "over the game"}  # it did so over the whole run before
    items += [{"task": "samples", **about, "seed": seed} for seed in range(WRITERS["textgan"])]
    items.append({"task": "original", "seed": 0})
    tuning: Item = {"task": "oracle tuning", "seed": TUNING_SEED, "rounds": rounds, "rates": list(RATES)}
    tried = results.result(tuning)
    about = {"rounds": rounds, "lr_g": best_rate(tried["arms"]) if tried else None}
    seeds = range(TASKS["oracle"]["seeds"])
    return [*items, tuning, *({"task": "oracle", "seed": seed, **about} for seed in seeds)]


def schedule_of(task: str, rounds: int) -> Schedule:
    """What an item of a task goes through, and what a run by the suggestion of its data does."""
    rules = catalog.build("models", TASKS[task]["gan"])
    before = rules.likelihood_steps + rules.judging_steps
    suggested = catalog.build("data", TASKS[task]["data"]).resolve().suggestion.steps - before
    return Schedule(rules.likelihood_steps, rules.judging_steps, rounds, suggested)


def write_table(results: Results, items: Sequence[Item], rounds: int) -> None:
    def result(task: str) -> list[dict[str, Any]]:
        return [{**item, **one} for item in items if item["task"] == task and (one := results.result(item))]

    parts: list[str] = []
    if len(sentences := result("sentences")) > 1:
        parts += sentences_table(sentences, schedule_of("sentences", ROUNDS["sentences"]))
    if len(written := result("samples")) > 1:
        parts += samples_table(written)
    if tried := result("oracle tuning"):
        parts += tuning_table(tried[0], schedule_of("oracle", rounds))
    if len(judged := result("oracle")) > 1:
        parts += oracle_table(judged, schedule_of("oracle", rounds))
    elif before := [one for seed in range(5) if (one := results.result({"task": "oracle", "seed": seed}))]:
        parts += oracle_table([{"lr_g": 1e-3, **one} for one in before], schedule_of("oracle", 50), fresh=False)
        parts.append(
            f"The same in {rounds} rounds, with a tuned rate and judged by sentences that no tuning has seen, is not "
            "measured yet: `python benchmarks/text.py --only oracle`."
        )
    if one := results.result({"task": "original", "seed": 0}):
        parts += original_table(one["seconds"])
    about = "Arms from the same players after likelihood, and textgan, which has none. How: `benchmarks/text.py`."
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
    made.add_argument("--rounds", type=int, default=ROUNDS["oracle"], help="of the game on the oracle")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item)))
        return
    results = Results(asked.out / "results" / "text.jsonl")
    for tuned in () if asked.table else (False, True):  # the rate must be there before what takes it
        wanted = [item for item in asked_for(results, asked.rounds) if tuned == (item["task"] == "oracle")]
        wanted = [item for item in wanted if not asked.only or item["task"].split()[0] in asked.only]
        results.measure(wanted, lambda item: in_child(__file__, item, threads=1))
    write_table(results, asked_for(results, asked.rounds), asked.rounds)


if __name__ == "__main__":
    main()
