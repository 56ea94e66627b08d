"""Training of policies: both methods, resuming after a kill, invalid plans."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from equipoise.cli import main as cli
from equipoise.errors import EquipoiseError, RunError, SettingError
from equipoise.experiment.settings import Experiment
from equipoise.meta import evolution, training
from equipoise.meta.journal import Journal, read_journal
from equipoise.meta.plan import EvolutionSettings, PolicyPlan, ReinforcementSettings, load_policy_plan
from equipoise.meta.reinforcement import export_networks
from equipoise.meta.training import JOURNAL, plan_digest, train_policy
from equipoise.policy.files import Policy, load_policy
from equipoise.policy.kinds import KINDS, PolicyKind
from equipoise.policy.network import PolicyNetwork

TASK = {
    "data": {"name": "equipoise.meta.points", "reals": 64},
    "model": {"name": "mlp", "width": 4},
    "metric": "equipoise.meta.held_out",
    "steps": 4,
    "batch_size": 8,
    "evaluate_every": 2,
}
ES = PolicyPlan(
    kind="time_only",
    task=TASK,
    vary={"data.shape": ["moons", "cross"]},
    evolution=EvolutionSettings(generations=2, population=4, tasks=1, check=2),
)
PPO = PolicyPlan(
    kind="ppo",
    task=TASK,
    reinforcement=ReinforcementSettings(rollouts=2, environments=2, decisions=1, epochs=2, check=2),
)
TOML = """
kind = "time_only"
[task]
data = { name = "equipoise.meta.points" }
metric = "equipoise.meta.held_out"
"""
TOML_PPO = TOML.replace("time_only", "ppo")


@pytest.mark.parametrize("plan", [ES, PPO], ids=["evolution", "reinforcement"])
def test_killed_training_resumes_to_the_same_file(
    plan: PolicyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cast(dict[str, PolicyKind], KINDS), "ppo", dataclasses.replace(KINDS["ppo"], every=3.0))
    uninterrupted, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    progress = [(one.done, one.total) for one in train_policy(plan, uninterrupted)]
    assert progress == [(count, progress[0][1]) for count in range(1, progress[0][1] + 1)]
    next(train_policy(plan, cut))
    assert not cut.exists()
    journal = cut.with_name(f"cut{JOURNAL}")
    journal.write_bytes(journal.read_bytes() + b'{"generation": 1, "mer')
    again = list(train_policy(plan, cut))
    assert cut.read_bytes() == uninterrupted.read_bytes()
    assert len(again) <= len(progress)
    policy = load_policy(str(cut)).policy
    assert policy.features == plan.kind
    assert policy.training["plan"] == plan.to_json()
    assert np.abs(policy.actor.flat()).max() > 0
    before = uninterrupted.stat().st_mtime_ns
    for _ in train_policy(plan, uninterrupted):
        pass
    assert uninterrupted.read_bytes() == cut.read_bytes()
    assert uninterrupted.stat().st_mtime_ns >= before


def test_evolution_optimises_the_merit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are replaced by a known merit: the distance of the weights to a point."""
    goal = np.linspace(-0.5, 0.5, 24)

    def advantages(
        policies: Sequence[Policy], base: Policy, tasks: Sequence[Experiment], noise: float, player: object
    ) -> list[list[float]]:
        return [[-float(np.sum((one.actor.flat() - goal) ** 2))] * len(tasks) for one in policies]

    monkeypatch.setattr(evolution, "measure_advantages", advantages)
    settings = EvolutionSettings(generations=60, population=12, tasks=1, check=4)
    plan = dataclasses.replace(ES, evolution=settings)
    journal = Journal(tmp_path / "j", plan_digest(plan))
    last = list(evolution.run_evolution(plan, settings, journal))[-1]
    result = evolution.build_policy(plan, settings, journal)
    assert np.sum((result.actor.flat() - goal) ** 2) < 0.1 * np.sum(goal**2)
    assert "not significantly better" in last.message, "all advantages are negative"
    assert result.training["episodes"] == 60 * 13


def global_state() -> list[int]:
    """Return the state of numpy's global generator."""
    state = np.random.get_state(legacy=False)
    assert isinstance(state, dict)
    return [*state["state"]["key"]]


def test_strategies_use_their_own_seed_only(tmp_path: Path) -> None:
    solutions = []
    for _ in range(2):
        np.random.seed(0)
        before = global_state()
        solutions.append(np.array(evolution._create_strategy(ES, EvolutionSettings()).ask()))
        assert global_state() == before
        np.random.seed(1)
    assert np.array_equal(*solutions)


def test_exported_networks_equal_those_of_stable_baselines3() -> None:
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
    actor, critic, log_std = export_networks(model.policy.state_dict())
    inputs = np.random.default_rng(0).uniform(-1, 1, (50, 4)).astype(np.float32)
    expected, _ = model.predict(inputs, deterministic=True)
    assert np.abs(actor(inputs) - expected).max() < 1e-5
    assert np.abs(actor(inputs)).max() == 1, "some are clipped"
    values = model.policy.predict_values(torch.from_numpy(inputs)).detach().numpy()
    assert np.abs(critic(inputs) - values).max() < 1e-5
    assert isinstance(actor, PolicyNetwork)
    assert log_std == pytest.approx(model.policy.log_std.detach().numpy())


def test_command_trains_a_policy_and_prints_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, out = tmp_path / "small.toml", tmp_path / "policies" / "small.safetensors"
    options = '[task.model]\nname = "mlp"\nwidth = 4\n'
    numbers = "[evolution]\ngenerations = 1\npopulation = 4\ntasks = 1\ncheck = 2\n"
    plan.write_text(f"{TOML}steps = 4\nbatch_size = 8\nevaluate_every = 2\n{options}{numbers}")
    assert cli.run(["train-policy", str(plan), "--out", str(out), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["policy"] == str(out)
    assert output["digest"] == load_policy(str(out)).digest
    assert output["cpu_seconds"] > 0
    assert cli.run(["train-policy", str(plan), "--out", str(out)]) == 0
    assert f"--controller time_only --policy {out}" in capsys.readouterr().out


def test_journal_of_another_plan_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "j", plan_digest(ES))
    with pytest.raises(SettingError, match=r"j belongs to another plan.*; delete it to"):
        Journal(tmp_path / "j", plan_digest(dataclasses.replace(ES, seed=9)))
    (tmp_path / "j").write_text("nonsense\n")
    with pytest.raises(SettingError, match=r"j is damaged: .*; delete it"):
        Journal(tmp_path / "j", plan_digest(ES))


def test_digest_of_a_journal_covers_everything_that_its_numbers_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal holds merits, not weights: merits of other weights would train a random policy."""
    before, kind = plan_digest(ES), KINDS["time_only"]
    assert plan_digest(dataclasses.replace(ES)) == before
    changes: list[dict[str, Any]] = [
        {"hidden": (8,)},
        {"features": "brief"},
        {"heads": kind.heads[::-1]},
        {"every": 0.1},
    ]
    for change in changes:
        with monkeypatch.context() as patch:
            patch.setitem(cast(dict[str, PolicyKind], KINDS), "time_only", dataclasses.replace(kind, **change))
            assert plan_digest(ES) != before, change
    versions = {"cma": "99.0"}
    for name, value in (
        ("FORMAT", 99),
        ("version", versions.get),
        ("installed_versions", lambda: {"equipoise": "99.0"}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(training, name, value)
            assert plan_digest(ES) != before, name


def test_opening_a_journal_only_removes_an_incomplete_line(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path, "digest")
    journal.append({"generation": 0})
    content, before = path.read_bytes(), path.stat()
    Journal(path, "digest")
    assert path.read_bytes() == content
    path.write_bytes(content + b'{"gen')
    assert [line.get("generation") for line in read_journal(path, "digest")] == [None, 0]
    assert path.read_bytes() == content + b'{"gen', "reading does not write"
    Journal(path, "digest")
    assert path.read_bytes() == content
    assert path.stat().st_ino == before.st_ino, "the file is not rewritten"
    assert read_journal(tmp_path / "none", "digest") == []
    assert not (tmp_path / "none").exists()


def test_second_training_of_a_policy_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "p.safetensors"
    first = train_policy(ES, out)
    next(first)
    with pytest.raises(RunError, match=r"p\.journal\.jsonl is in use by another process; .* --out"):
        next(train_policy(ES, out))
    first.close()
    assert next(train_policy(ES, out)).done == 1


def test_folder_as_output_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is a folder; .*policy\.safetensors"):
        next(train_policy(ES, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_file_of_another_origin_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "plan.toml"
    out.write_text(TOML)
    with pytest.raises(RunError, match=r"plan\.toml exists without .* --out"):
        next(train_policy(ES, out))
    assert out.read_text() == TOML
    assert list(tmp_path.iterdir()) == [out]
    Journal(tmp_path / f"plan.toml{JOURNAL}", plan_digest(dataclasses.replace(ES, seed=9)))
    with pytest.raises(SettingError, match=r"plan\.toml\.journal\.jsonl belongs to another plan"):
        next(train_policy(ES, out))
    assert out.read_text() == TOML


@pytest.mark.parametrize(("module", "package"), [("cma", "cma"), ("stable_baselines3", "stable-baselines3")])
def test_missing_package_is_an_error(
    module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None if name == module else object())
    plan = ES if module == "cma" else PPO
    with pytest.raises(
        SettingError, match=rf"needs the package {package}; install it with: pip install 'equipoise\[rl\]'"
    ):
        list(train_policy(plan, tmp_path / "p.safetensors"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TOML, "a plan needs either"),
        (TOML + "[evolution]\n[reinforcement]\n", "a plan needs either"),
        (TOML + "[reinforcement]\n", "trains policies of kind ppo, not time_only"),
        (TOML + "[evolution]\npopulation = 3\n", "population = 3: it must be at least 4"),
        (TOML + "[evolution]\ngenerations = 0\n", r"\[evolution\] generations = 0: it must be above 0"),
        (TOML + "[evolution]\ncheck = 1\n", r"\[evolution\] check = 1: .* at least 2"),
        (TOML + "[evolution]\ngeneration = 3\n", "there is no option 'generation' of .*; did you mean 'generations'"),
        (TOML + '[vary]\n"data.shape" = []\n[evolution]\n', "'data.shape' has no values"),
        (TOML.replace("equipoise.meta.points", "digits") + "[evolution]\n", "'digits' is reserved"),
        (
            TOML.replace("time_only", "tine_only") + "[evolution]\n",
            "no kind of policy 'tine_only'; did you mean 'time_on",
        ),
        ("seed = -1\n" + TOML + "[evolution]\n", "seed = -1: it must be at least 0"),
        (TOML.replace('{ name = "equipoise.meta.points" }', "3") + "[evolution]\n", "data = 3: it must be a name"),
        (TOML.replace('"time_only"', '["time_only"]') + "[evolution]\n", r"no kind of policy '\['time_only'\]'"),
        (TOML + '[vary]\n"data" = ["digits"]\n[evolution]\n', "'digits' is reserved"),
        (
            TOML.replace("meta.points", "data.digits") + "[evolution]\n",
            r"'equipoise\.data\.digits' is reserved",
        ),
        (TOML.replace('"equipoise.meta.points"', '"ring"') + "[evolution]\n", "'ring' is reserved"),
        (
            TOML + '[check]\n"data.shape" = ["cross", "crross"]\n[evolution]\n',
            r"plan\.toml, \[check\], data\.shape = 'crross': .*did you mean 'cross'",
        ),
        (
            TOML.replace("meta.held_out", "meta.nowhere") + "[evolution]\n",
            r"\[vary\], the first value of each list: there is no module 'equipoise\.meta\.nowhere'",
        ),
        (
            TOML.replace('metric = "equipoise.meta.held_out"', 'metric = "coverage:samples"') + "[evolution]\n",
            r"for 'coverage:samples' higher is better",
        ),
        (
            TOML + '[check]\nmetric = ["equipoise.meta.held_out", "none"]\n[evolution]\n',
            r"\[check\], metric = 'none': .* has no metric; set one",
        ),
        (
            TOML + "[check]\nsteps = [4, 6]\n[evolution]\n",
            r"\[check\], steps = 6: runs with steps = 4 and 6 cannot be stacked",
        ),
        (
            TOML + '[task.model]\nname = "mlp"\n[check]\n"model.width" = [4, 8]\n[evolution]\n',
            r"\[check\], model\.width = 8: runs with width = 4 and 8 cannot be stacked",
        ),
        (
            TOML + '[task.model]\nname = "mlp"\n[vary]\n"model.name" = ["mlp", "dirac"]\n[evolution]\n',
            r"\[vary\], model\.name = 'dirac': ",
        ),
        (TOML + 'controller = "rank"\n[evolution]\n', "omit 'controller'"),
        (TOML + '[vary]\n"controller.name" = ["rank"]\n[evolution]\n', "omit 'controller'"),
        (TOML + '[vary]\n"data.shape" = "moons"\n[evolution]\n', r"must be a list of values; write \['moons'\]"),
        (
            TOML_PPO + "steps = 50\n[reinforcement]\n",
            r"the first value of each list: the run ends before its first decision",
        ),
        (
            TOML_PPO + "[vary]\nsteps = [600, 1000]\n[reinforcement]\ndecisions = 12\n",
            r"\[vary\], steps = 1000: a run has 19 decisions, .* set decisions = 19",
        ),
        (
            TOML_PPO + "[reinforcement]\nenvironments = 1\ndecisions = 1\n",
            "raise environments or decisions",
        ),
        (
            TOML + '[vary]\n"knobs.lr_d" = [1e-3, 1.0]\n[evolution]\n',
            r"plan\.toml, \[vary\], knobs\.lr_d = 1\.0: lr_d = 1 is outside its range",
        ),
        ("[task]\n[evolution]\n", "has no 'kind'; see experiments/policies"),
        ('kind = "ppo"\n', "has no 'task'"),
        ("kind = ", "cannot be read as TOML"),
    ],
)
def test_invalid_plan_is_an_error(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(EquipoiseError, match=line):
        load_policy_plan(tmp_path / "plan.toml")


def test_missing_plan_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"there is no file .*nowhere\.toml"):
        load_policy_plan(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[2].glob("experiments/policies/*.toml")), ids=lambda p: p.stem
)
def test_committed_plans_are_those_of_the_shipped_policies(path: Path) -> None:
    assert load_policy(path.stem).policy.training["plan"] == load_policy_plan(path).to_json()
