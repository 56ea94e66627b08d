"""Making policies: both methods, a kill and going on, and what is wrong with a plan."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from equipoise.cli import main as cli
from equipoise.errors import EquipoiseError, RunError, SettingError
from equipoise.experiment.settings import Experiment
from equipoise.meta import evolution, extra, training
from equipoise.meta.evolution import Progress
from equipoise.meta.journal import Journal, lines_of
from equipoise.meta.plan import Evolution, Plan, Reinforcement, read_plan
from equipoise.meta.reinforcement import exported
from equipoise.meta.training import JOURNAL, signature, train_policy
from equipoise.policy.blank import KINDS, Kind
from equipoise.policy.files import Policy, read
from equipoise.policy.network import Network

TASK = {
    "data": {"name": "equipoise.meta.points", "reals": 64},
    "model": {"name": "mlp", "width": 4},
    "metric": "equipoise.meta.held_out",
    "steps": 4,
    "batch_size": 8,
    "evaluate_every": 2,
}
ES = Plan(
    kind="time_only",
    task=TASK,
    vary={"data.shape": ["moons", "cross"]},
    evolution=Evolution(generations=2, population=4, tasks=1, check=2),
)
PPO = Plan(
    kind="ppo",
    task=TASK,
    reinforcement=Reinforcement(rollouts=2, environments=2, decisions=1, epochs=2, check=2),
)
TOML = """
kind = "time_only"
[task]
data = { name = "equipoise.meta.points" }
metric = "equipoise.meta.held_out"
"""
TOML_PPO = TOML.replace("time_only", "ppo")


def killed(pieces: Iterator[Progress], after: int) -> None:
    """Take so many pieces, and no more."""
    for _ in range(after):
        next(pieces)


@pytest.mark.parametrize("plan", [ES, PPO], ids=["evolution", "reinforcement"])
def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cast(dict[str, Kind], KINDS), "ppo", dataclasses.replace(KINDS["ppo"], every=3.0))
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    told = [(piece.done, piece.total) for piece in train_policy(plan, whole)]
    assert told == [(done, told[0][1]) for done in range(1, told[0][1] + 1)]
    killed(train_policy(plan, cut), 1)
    assert not cut.exists()
    journal = cut.with_name(f"cut{JOURNAL}")
    journal.write_bytes(journal.read_bytes() + b'{"generation": 1, "mer')
    again = list(train_policy(plan, cut))
    assert cut.read_bytes() == whole.read_bytes()
    assert len(again) <= len(told)
    policy = read(str(cut)).policy
    assert policy.features == plan.kind
    assert policy.training["plan"] == plan.values()
    assert np.abs(policy.actor.flat()).max() > 0
    before = whole.stat().st_mtime_ns
    for _ in train_policy(plan, whole):
        pass
    assert whole.read_bytes() == cut.read_bytes()
    assert whole.stat().st_mtime_ns >= before


def test_evolution_finds_what_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of runs, a merit that is known: the nearer the weights to a point, the better."""
    goal = np.linspace(-0.5, 0.5, 24)

    def judged(
        policies: Sequence[Policy], base: Policy, tasks: Sequence[Experiment], noise: float
    ) -> list[list[float]]:
        return [[-float(np.sum((one.actor.flat() - goal) ** 2))] * len(tasks) for one in policies]

    monkeypatch.setattr(evolution, "judged", judged)
    settings = Evolution(generations=60, population=12, tasks=1, check=4)
    plan = dataclasses.replace(ES, evolution=settings)
    journal = Journal(tmp_path / "j", signature(plan))
    last = list(evolution.evolve(plan, settings, journal))[-1]
    result = evolution.result(plan, settings, journal)
    assert np.sum((result.actor.flat() - goal) ** 2) < 0.1 * np.sum(goal**2)
    assert last.told.endswith("no better than its base, as far as can be told"), "all advantages lie below 0"
    assert result.training["episodes"] == 60 * 13


def global_numbers() -> list[int]:
    """The state of numpy's global generator."""
    state = np.random.get_state(legacy=False)
    assert isinstance(state, dict)
    return [*state["state"]["key"]]


def test_strategies_draw_from_their_own_seed_alone(tmp_path: Path) -> None:
    asked = []
    for _ in range(2):
        np.random.seed(0)
        before = global_numbers()
        asked.append(np.array(evolution._strategy(ES, Evolution()).ask()))
        assert global_numbers() == before
        np.random.seed(1)
    assert np.array_equal(*asked)


def test_what_a_policy_of_stable_baselines3_says_is_what_the_file_says() -> None:
    import gymnasium
    import stable_baselines3
    from stable_baselines3.common.vec_env import DummyVecEnv

    class Box(gymnasium.Env[np.ndarray, np.ndarray]):
        observation_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    kwargs = {"net_arch": [16, 16], "activation_fn": torch.nn.Tanh}
    model = stable_baselines3.PPO("MlpPolicy", DummyVecEnv([Box]), policy_kwargs=kwargs, seed=0, device="cpu")
    with torch.no_grad():
        for weight in model.policy.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    actor, critic, log_std = exported(model.policy.state_dict())
    seen = np.random.default_rng(0).uniform(-1, 1, (50, 4)).astype(np.float32)
    said, _ = model.predict(seen, deterministic=True)
    assert np.abs(actor(seen) - said).max() < 1e-5
    assert np.abs(actor(seen)).max() == 1, "some are clipped"
    values = model.policy.predict_values(torch.from_numpy(seen)).detach().numpy()
    assert np.abs(critic(seen) - values).max() < 1e-5
    assert isinstance(actor, Network)
    assert log_std == pytest.approx(model.policy.log_std.detach().numpy())


def test_the_command_trains_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, out = tmp_path / "small.toml", tmp_path / "policies" / "small.safetensors"
    options = '[task.gan]\nname = "mlp"\nwidth = 4\n'
    numbers = "[evolution]\ngenerations = 1\npopulation = 4\ntasks = 1\ncheck = 2\n"
    plan.write_text(f"{TOML}steps = 4\nbatch_size = 8\nevaluate_every = 2\n{options}{numbers}")
    assert cli.run(["train-policy", str(plan), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["policy"] == str(out)
    assert said["digest"] == read(str(out)).digest
    assert said["cpu_seconds"] > 0
    assert cli.run(["train-policy", str(plan), "--out", str(out)]) == 0
    assert f"use it: equipoise train DATA --controller time_only --policy {out}" in capsys.readouterr().out


def test_a_journal_of_another_plan_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "j", signature(ES))
    with pytest.raises(SettingError, match=r"j is of another plan, or of other versions of what trains; delete it to"):
        Journal(tmp_path / "j", signature(dataclasses.replace(ES, seed=9)))
    (tmp_path / "j").write_text("nonsense\n")
    with pytest.raises(SettingError, match=r"j is damaged: .*; delete it to begin anew"):
        Journal(tmp_path / "j", signature(ES))


def test_a_journal_is_of_all_that_its_numbers_follow_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merits are kept, not the candidates that earned them: told of others, they would train a policy of chance."""
    before, kind = signature(ES), KINDS["time_only"]
    assert signature(dataclasses.replace(ES)) == before
    changes: list[dict[str, Any]] = [
        {"hidden": (8,)},
        {"features": "brief"},
        {"heads": kind.heads[::-1]},
        {"every": 0.1},
    ]
    for change in changes:
        with monkeypatch.context() as patch:
            patch.setitem(cast(dict[str, Kind], KINDS), "time_only", dataclasses.replace(kind, **change))
            assert signature(ES) != before, change
    versions = {"cma": "99.0"}
    for name, value in (("FORMAT", 99), ("version", versions.get), ("versions", lambda: {"equipoise": "99.0"})):
        with monkeypatch.context() as patch:
            patch.setattr(training, name, value)
            assert signature(ES) != before, name


def test_opening_a_journal_writes_nothing_but_what_a_kill_has_torn(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path, "signed")
    journal.add({"generation": 0})
    whole, before = path.read_bytes(), path.stat()
    Journal(path, "signed")
    assert path.read_bytes() == whole
    path.write_bytes(whole + b'{"gen')
    assert [line.get("generation") for line in lines_of(path, "signed")] == [None, 0]
    assert path.read_bytes() == whole + b'{"gen', "reading leaves even that"
    Journal(path, "signed")
    assert path.read_bytes() == whole
    assert path.stat().st_ino == before.st_ino, "never written anew"
    assert lines_of(tmp_path / "none", "signed") == []
    assert not (tmp_path / "none").exists()


def test_two_trainings_of_one_policy_do_not_get_into_each_others_way(tmp_path: Path) -> None:
    out = tmp_path / "p.safetensors"
    first = train_policy(ES, out)
    next(first)
    with pytest.raises(
        RunError, match=r"p\.journal\.jsonl is in use by another process; wait until it has ended, or choo"
    ):
        next(train_policy(ES, out))
    first.close()
    assert next(train_policy(ES, out)).done == 1


def test_a_folder_is_no_place_for_a_policy(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is a folder; give --out a file in it, such as .*policy\.safetensors"):
        next(train_policy(ES, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_this_plan_did_not_make_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "plan.toml"
    out.write_text(TOML)
    with pytest.raises(
        RunError, match=r"plan\.toml is there already, without a journal of this plan; move it, or choo"
    ):
        next(train_policy(ES, out))
    assert out.read_text() == TOML
    assert list(tmp_path.iterdir()) == [out]
    Journal(tmp_path / f"plan.toml{JOURNAL}", signature(dataclasses.replace(ES, seed=9)))
    with pytest.raises(SettingError, match=r"plan\.toml\.journal\.jsonl is of another plan"):
        next(train_policy(ES, out))
    assert out.read_text() == TOML


@pytest.mark.parametrize(("module", "package"), [("cma", "cma"), ("stable_baselines3", "stable-baselines3")])
def test_what_is_not_installed_is_told(
    module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == module else object())
    plan = ES if module == "cma" else PPO
    with pytest.raises(SettingError, match=rf"needs {package}; install it with: pip install 'equipoise\[rl\]'"):
        list(train_policy(plan, tmp_path / "p.safetensors"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TOML, "a plan has either"),
        (TOML + "[evolution]\n[reinforcement]\n", "a plan has either"),
        (TOML + "[reinforcement]\n", "trains policies of the kind ppo, not time_only"),
        (TOML + "[evolution]\npopulation = 3\n", "population = 3: it must be at least 4"),
        (TOML + "[evolution]\ngenerations = 0\n", r"\[evolution\] generations = 0: it must be above 0"),
        (TOML + "[evolution]\ncheck = 1\n", r"\[evolution\] check = 1: .* at least 2"),
        (TOML + "[evolution]\ngeneration = 3\n", "there is no option of .*'generation'; did you mean 'generations'"),
        (TOML + '[vary]\n"data.shape" = []\n[evolution]\n', "'data.shape' is to be drawn from nothing"),
        (TOML.replace("equipoise.meta.points", "digits") + "[evolution]\n", "'digits' is kept for judging controllers"),
        (
            TOML.replace("time_only", "tine_only") + "[evolution]\n",
            "no kind of policy 'tine_only'; did you mean 'time_on",
        ),
        ("seed = -1\n" + TOML + "[evolution]\n", "seed = -1: it must be at least 0"),
        (TOML.replace('{ name = "equipoise.meta.points" }', "3") + "[evolution]\n", "data = 3: it must be a name"),
        (TOML.replace('"time_only"', '["time_only"]') + "[evolution]\n", r"no kind of policy '\['time_only'\]'"),
        (TOML + '[vary]\n"data" = ["digits"]\n[evolution]\n', "'digits' is kept for judging controllers"),
        (
            TOML.replace("meta.points", "data.digits") + "[evolution]\n",
            r"'equipoise\.data\.digits' is kept for judging",
        ),
        (TOML.replace('"equipoise.meta.points"', '"ring"') + "[evolution]\n", "'ring' is kept for judging controllers"),
        (
            TOML + '[check]\n"data.shape" = ["cross", "crross"]\n[evolution]\n',
            r"plan\.toml, \[check\], data\.shape = 'crross': .*did you mean 'cross'",
        ),
        (
            TOML.replace("meta.held_out", "meta.nowhere") + "[evolution]\n",
            r"\[vary\], the first of each list: there is no module for a metric 'equipoise\.meta\.nowhere'",
        ),
        (
            TOML.replace('metric = "equipoise.meta.held_out"', 'metric = "coverage:samples"') + "[evolution]\n",
            r"of 'coverage:samples' more is better, and policies are trained by a distance: say another",
        ),
        (
            TOML + '[check]\nmetric = ["equipoise.meta.held_out", "none"]\n[evolution]\n',
            r"\[check\], metric = 'none': policies are trained by a distance: say a metric",
        ),
        (
            TOML + "[check]\nsteps = [4, 6]\n[evolution]\n",
            r"\[check\], steps = 6: runs with steps = 4 and 6 cannot be stacked; train them apart",
        ),
        (
            TOML + '[task.gan]\nname = "mlp"\n[check]\n"model.width" = [4, 8]\n[evolution]\n',
            r"\[check\], model\.width = 8: runs with width = 4 and 8 cannot be stacked",
        ),
        (
            TOML + '[task.gan]\nname = "mlp"\n[vary]\n"model.name" = ["mlp", "dirac"]\n[evolution]\n',
            r"\[vary\], model\.name = 'dirac': ",
        ),
        (TOML + 'controller = "rank"\n[evolution]\n', "has no controller but the policy that is trained on it; leave"),
        (TOML + '[vary]\n"controller.name" = ["rank"]\n[evolution]\n', "leave 'controller' out"),
        (TOML + '[vary]\n"data.shape" = "moons"\n[evolution]\n', r"drawn from a list; write \['moons'\]"),
        (
            TOML_PPO + "steps = 50\n[reinforcement]\n",
            r"the first of each list: the run ends before there is anything to decide; give it more steps",
        ),
        (
            TOML_PPO + "[vary]\nsteps = [600, 1000]\n[reinforcement]\ndecisions = 12\n",
            r"\[vary\], steps = 1000: a run has 19 decisions, .* say decisions = 19",
        ),
        (
            TOML_PPO + "[reinforcement]\nenvironments = 1\ndecisions = 1\n",
            "learns nothing from a single decision; raise environments or decisions",
        ),
        (
            TOML + '[vary]\n"knobs.lr_d" = [1e-3, 1.0]\n[evolution]\n',
            r"plan\.toml, \[vary\], knobs\.lr_d = 1\.0: lr_d = 1 is outside its range",
        ),
        ("[task]\n[evolution]\n", "does not say 'kind'; see experiments/policies"),
        ('kind = "ppo"\n', "does not say 'task'"),
        ("kind = ", "cannot be read as TOML"),
    ],
)
def test_a_plan_that_cannot_be_is_told(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(EquipoiseError, match=line):
        read_plan(tmp_path / "plan.toml")


def test_a_plan_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"there is no file .*nowhere\.toml"):
        read_plan(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[2].glob("experiments/policies/*.toml")), ids=lambda p: p.stem
)
def test_the_committed_plans_are_those_that_the_shipped_policies_were_made_by(path: Path) -> None:
    assert read(path.stem).policy.training["plan"] == read_plan(path).values()
