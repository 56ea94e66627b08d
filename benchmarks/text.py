"""SeqGAN and its controls: does adversarial training add anything to maximum likelihood?

    python benchmarks/text.py             about 35 minutes of one core; a restart continues
    python benchmarks/text.py --only sentences oracle
    python benchmarks/text.py --only oracle --rounds 50
    python benchmarks/text.py --table     rewrite text.md from results/text.jsonl

Method. An item is a task and a seed. The generator is trained by maximum likelihood (cosine schedule; rate, dropout and
steps tuned by the NLL of held-out sentences; for the oracle at 64 units to reduce cost: 128 had 0.05 nats per token
less in 800 steps), then the discriminator on samples and reals. From exactly this state of networks and optimizers,
every arm trains for the same number of rounds, one update of each network per round:

  likelihood   no round: tuned maximum likelihood, the start of the others
  game         rewards by the discriminator, with a baseline (the state before the token)
  no baseline  rewards by the discriminator, as published
  constant     every reward is 1, without a baseline (LantaoYu/SeqGAN issue 21)
  shuffled     each sentence gets the rewards of another

Tasks. `sentences`: the grammar of the lab, everything by enumeration. `samples`: the same grammar by 100,000 samples,
which is necessary for textgan, since it has no likelihood; and for seqgan after adversarial training. textgan has the
steps of docs/tutorials/sentences.md: 300 of autoencoding, 100 of swaps, 1,200 of adversarial training. `oracle`: the
LSTM of seed 0 with 200 words, sentences of 20; 2,000 samples; NLL_oracle and NLL_gen at the same temperature, for five
temperatures. `original`: the published sizes with 5,000 words, seconds of a few updates of each kind, and an estimate
for the published schedule.

On the oracle, adversarial training is tuned, too: --rounds rounds (200, as many as published) at three learning rates
of the generator, with a separate seed, on held-out sentences of the data set, as for likelihood; all arms use the best
rate. The verdict is based on new sentences of the oracle that were not used for tuning. "no baseline" is omitted there:
after 50 rounds it had lost 0.07 nats per token, and it takes as long as "game".

Verdict on the oracle: adversarial training beats likelihood if, at the temperature at which likelihood has the same
NLL_oracle, it gives a higher likelihood to held-out sentences, beyond the 95 % interval of the mean over seeds
(Student's t). A lower NLL_oracle alone is no improvement: any generator with a lower temperature has that.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

import torch
from _results import Item, Result, Results, create_parser, run_in_subprocess, write
from _text_tables import Schedule, best_rate, oracle_table, original_table, samples_table, sentences_table, tuning_table
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.metric import Bootstrap, ReferenceSet
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.nn.recurrent import Recurrent
from equipoise.training.state import TrainingState, initial_state
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
"""Learning rates of the generator that are compared."""
TUNING_SEED = 100
"""Not one of the seeds of the verdict."""
FRESH = 2
"""Stream of oracle sentences for the verdict; 0 is for training, 1 held out."""
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
"""Samples of `samples`; with this number a perfect generator misses 0.5 of 10,000 sentences."""


class TextTask:
    """A task with one seed: data, and networks that can be reset to the start of adversarial training."""

    def __init__(self, task: str, seed: int, rounds: int) -> None:
        self.about, self.seed, self.rounds = TASKS[task], seed, rounds
        self.data = catalog.build("data", self.about["data"]).resolve()
        self.stream = self.data.stream("train", BATCH, seed)
        self.start = self.initialise({})
        recipe = catalog.build("models", self.about["gan"])
        self.pretraining_steps = recipe.likelihood_steps + recipe.discriminator_pretraining_steps
        for _ in range(self.pretraining_steps):
            self.step(self.start)

    def initialise(self, options: dict[str, Any]) -> TrainingState:
        """Initialise the networks."""
        recipe = catalog.build("models", self.about["gan"], options)
        model = recipe.build(self.data.spec, torch.Generator().manual_seed(self.seed))
        return initial_state(
            model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(self.seed + 1)
        )

    def step(self, state: TrainingState) -> None:
        """Train for one step on training sentences."""
        run_step(state, self.stream, state.model.knobs, 0.0)

    def train(self, arm: str, rate: float | None = None) -> TrainingState:
        """Return the state after all rounds of an arm, with a learning rate of the generator; None for that of its
        preset.
        """
        state = self.initialise({**ARMS[arm], **({} if rate is None else {"knobs": {"lr_g": rate}})})
        state.restore(self.start.tensors(), self.start.values(), "the start")
        for _ in range(self.rounds):
            self.step(state)
        return state


def generator_of(state: TrainingState) -> Recurrent:
    network = state.model.networks["generator"]
    assert isinstance(network, Recurrent)
    return network


def by_enumeration(text_task: TextTask, network: Recurrent) -> dict[str, float]:
    """Compute the exact metrics of the grammar of the lab, in nats per sentence."""
    real = ReferenceSet(text_task.data.stream("held_out", 1, 0).batch(0).real, spec=text_task.data.spec)
    return {
        key: catalog.build("metrics", name).compute_from_likelihood(network.log_likelihood, real, Bootstrap()).value
        for key, name in ENUMERATED.items()
    }


def by_oracle(text_task: TextTask, network: Recurrent, real: Tensor) -> dict[str, dict[str, float]]:
    """Map temperature to NLL_oracle of samples, NLL_gen of real sentences, entropy (nats per token) and distinct
    samples.
    """
    length, distribution = text_task.data.spec.shape[0], text_task.data.spec.distribution
    result = {}
    for temperature in TEMPERATURES:
        cooled = network.at_temperature(temperature)
        fake = cooled.sentences(SAMPLES, length, torch.Generator().manual_seed(7))
        result[str(temperature)] = {
            "nll_oracle": -distribution.log_probability(fake).mean().item() / length,
            "nll_gen": -cooled.log_likelihood(real).mean().item() / length,
            "entropy": -cooled.log_likelihood(fake).mean().item() / length,
            "distinct": len(fake.unique(dim=0)) / SAMPLES,
        }
    return result


def measure(item: Item) -> Result:
    torch.set_num_threads(1)
    if item["task"] == "original":
        return original()
    if item["task"] == "samples":
        return by_samples(item)
    if item["task"] == "oracle tuning":
        return tune(item)
    start_time = time.process_time()
    text_task = TextTask(item["task"], item["seed"], item.get("rounds", ROUNDS[item["task"]]))
    distribution, on_oracle = text_task.data.spec.distribution, item["task"] == "oracle"
    real = distribution.drawn(SAMPLES, FRESH) if on_oracle else text_task.data.stream("held_out", 1000, 0).batch(0).real

    def evaluate(network: Recurrent) -> Any:
        return by_oracle(text_task, network, real) if on_oracle else by_enumeration(text_task, network)

    result: dict[str, Any] = {"likelihood": evaluate(generator_of(text_task.start))}
    seconds = {"likelihood": time.process_time() - start_time}
    for arm in text_task.about["arms"]:
        start_time = time.process_time()
        result[arm] = evaluate(generator_of(text_task.train(arm, item.get("lr_g"))))
        seconds[arm] = time.process_time() - start_time
    nll = -distribution.log_probability(real).mean().item() / real.shape[1]
    return {"arms": result, "seconds": seconds, "real": nll}


def tune(item: Item) -> Result:
    """Train with each learning rate, and evaluate on the held-out sentences of the data set."""
    start_time = time.process_time()
    text_task = TextTask("oracle", item["seed"], item["rounds"])
    held_out = text_task.data.stream("held_out", SAMPLES, 0).batch(0).real
    result = {"likelihood": by_oracle(text_task, generator_of(text_task.start), held_out)}
    for rate in item["rates"]:
        result[f"{rate:g}"] = by_oracle(text_task, generator_of(text_task.train("game", rate)), held_out)
    return {"arms": result, "seconds": {"all": time.process_time() - start_time}}


def by_samples(item: Item) -> Result:
    """Compute the metrics of one model on the sentences of the lab from samples."""
    start_time = time.process_time()
    is_seqgan = item["gan"] == "seqgan"
    rounds = ROUNDS["sentences"]
    state = TextTask("sentences", item["seed"], rounds).train("game") if is_seqgan else train_textgan(item["seed"])
    seconds = time.process_time() - start_time
    source, networks = torch.Generator().manual_seed(7), state.model.networks
    parts = (state.model.latent(SAMPLES, source, None) for _ in range(WRITTEN // SAMPLES))
    fake = torch.cat([state.model.generate(networks, latent, None, DEFAULT_SAMPLING).long() for latent in parts])
    data = catalog.build("data", "sentences").resolve()
    is_valid = data.spec.distribution.log_probability(fake).isfinite()
    counts = fake[is_valid].unique(dim=0, return_counts=True)[1].double()
    model = counts / counts.sum()
    training_sentences = {tuple(row) for row in data.stream("train", data.count("train"), 0).batch(0).real.tolist()}
    first_samples = {tuple(row) for row in fake[:SAMPLES].tolist()}
    return {
        "valid": is_valid.double().mean().item(),
        "entropy": -(model * model.log()).sum().item(),
        "left_out": len(data.spec.distribution.support()) - len(counts),
        "novelty": len(first_samples - training_sentences) / SAMPLES,
        "written": texts(data, fake[:10]),
        "seconds": {item["gan"]: seconds},
    }


def train_textgan(seed: int) -> TrainingState:
    """Return textgan at the end of its run."""
    data = catalog.build("data", "sentences").resolve()
    model = catalog.build("models", "textgan", MATCHING).build(data.spec, torch.Generator().manual_seed(seed))
    stream = data.stream("train", BATCH, seed)
    state = initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(seed + 1))
    for step in range(MATCHING_STEPS):
        run_step(state, stream, model.knobs, step / MATCHING_STEPS)
    return state


def texts(data: Any, rows: Tensor) -> list[str]:
    """Decode sentences."""
    return [data.spec.vocabulary.decode(row) for row in rows.tolist()]


def original() -> Result:
    """Measure the processor time of one update of each kind with the published sizes."""
    data = catalog.build("data", "oracle", {"train": 640}).resolve()
    stream = data.stream("train", BATCH, 0)
    seconds = {}
    for kind, before, discriminator_steps, count in (
        ("likelihood", 10**6, 0, 4),
        ("both", 0, 0, 1),
        ("discriminator", 0, 10**6, 2),
    ):
        options = {
            "likelihood_steps": before,
            "discriminator_pretraining_steps": discriminator_steps,
            "knobs": {"discriminator_steps": 1},
        }
        model = catalog.build("models", "seqgan:paper", options).build(data.spec, torch.Generator().manual_seed(0))
        state = initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(1))
        if kind != "both":
            run_step(state, stream, model.knobs, 0.0)
        start_time = time.process_time()
        for _ in range(count):
            run_step(state, stream, model.knobs, 0.0)
        seconds[kind] = (time.process_time() - start_time) / count
    return {"seconds": {**seconds, "generator": seconds.pop("both") - seconds["discriminator"]}}


def items_of(results: Results, rounds: int) -> list[Item]:
    """Return all items. Those of the oracle use the best learning rate, None as long as there is no tuning."""
    items: list[Item] = [{"task": "sentences", "seed": seed} for seed in range(TASKS["sentences"]["seeds"])]
    items += [{"task": "samples", "gan": "seqgan", "seed": seed} for seed in range(WRITERS["seqgan"])]
    about = {"gan": "textgan", "sharpens": "over the game"}  # earlier versions sharpened over the whole run
    items += [{"task": "samples", **about, "seed": seed} for seed in range(WRITERS["textgan"])]
    items.append({"task": "original", "seed": 0})
    tuning_item: Item = {"task": "oracle tuning", "seed": TUNING_SEED, "rounds": rounds, "rates": list(RATES)}
    tuning = results.result(tuning_item)
    about = {"rounds": rounds, "lr_g": best_rate(tuning["arms"]) if tuning else None}
    seeds = range(TASKS["oracle"]["seeds"])
    return [*items, tuning_item, *({"task": "oracle", "seed": seed, **about} for seed in seeds)]


def schedule_of(task: str, rounds: int) -> Schedule:
    """Return the schedule of a task, and that of a run with the suggested settings."""
    recipe = catalog.build("models", TASKS[task]["gan"])
    before = recipe.likelihood_steps + recipe.discriminator_pretraining_steps
    suggested = catalog.build("data", TASKS[task]["data"]).resolve().suggestion.steps - before
    return Schedule(recipe.likelihood_steps, recipe.discriminator_pretraining_steps, rounds, suggested)


def write_table(results: Results, items: Sequence[Item], rounds: int) -> None:
    def result(task: str) -> list[dict[str, Any]]:
        return [{**item, **one} for item in items if item["task"] == task and (one := results.result(item))]

    parts: list[str] = []
    if len(sentences := result("sentences")) > 1:
        parts += sentences_table(sentences, schedule_of("sentences", ROUNDS["sentences"]))
    if len(written := result("samples")) > 1:
        parts += samples_table(written)
    if tuning := result("oracle tuning"):
        parts += tuning_table(tuning[0], schedule_of("oracle", rounds))
    if len(oracle := result("oracle")) > 1:
        parts += oracle_table(oracle, schedule_of("oracle", rounds))
    elif before := [one for seed in range(5) if (one := results.result({"task": "oracle", "seed": seed}))]:
        parts += oracle_table([{"lr_g": 1e-3, **one} for one in before], schedule_of("oracle", 50), fresh=False)
        parts.append(
            f"The same in {rounds} rounds, with a tuned rate and evaluated on sentences that were not used for tuning, "
            "is not measured yet: `python benchmarks/text.py --only oracle`."
        )
    if one := results.result({"task": "original", "seed": 0}):
        parts += original_table(one["seconds"])
    about = (
        "Arms from the same networks after maximum likelihood, and textgan, which has no likelihood. Method: docstring "
        "of `benchmarks/text.py`."
    )
    write(
        results.path.parents[1] / "text.md",
        "# Text: what adversarial training adds to likelihood",
        about,
        *parts,
        results.provenance(items),
    )


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--only", nargs="+", metavar="TASK", help="sentences, samples, oracle, original")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS["oracle"], help="rounds of adversarial training on the oracle"
    )
    args = parser.parse_args()
    if args.item:
        print(json.dumps(measure(args.item)))
        return
    results = Results(args.out / "results" / "text.jsonl")
    for is_tuned in () if args.table else (False, True):  # tuning comes first, because other items need its rate
        selected = [item for item in items_of(results, args.rounds) if is_tuned == (item["task"] == "oracle")]
        selected = [item for item in selected if not args.only or item["task"].split()[0] in args.only]
        results.measure(selected, lambda item: run_in_subprocess(__file__, item, threads=1))
    write_table(results, items_of(results, args.rounds), args.rounds)


if __name__ == "__main__":
    main()
