"""Chains: each controller as if it were alone, and the combination of their changes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from equipoise.controllers.annealed import Annealed
from equipoise.controllers.chain import Chain
from equipoise.controllers.rank import Rank
from equipoise.core import catalog
from equipoise.core.controller import state_from_json, state_to_json
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError, UnknownNameError
from equipoise.policy.files import encode_policy, load_policy
from equipoise.policy.kinds import untrained_policy

BASE = AdversarialKnobs().with_values({"lr_g": 1e-3, "lr_d": 2e-3, "beta1": 0.5})
READINGS = 30


def trajectory(controller, base=BASE):
    state = initial = controller.initial(base)
    knobs, path = base, []
    for number in range(READINGS + 1):
        progress = number / READINGS
        rank = 0.95 if progress < 0.4 else 0.3
        signals = Signals(rank_train_fake=rank, rank_train_held_out=progress) if number else Signals()
        turn = controller.update(
            state_from_json(initial, json.loads(json.dumps(state_to_json(state)))),
            Observation(number, progress, signals, Health(), knobs),
        )
        state = turn.state
        ranges = base.ranges()
        start = base.with_values({name: ranges[name].clamp(getattr(turn.knobs, name)) for name in ranges})
        knobs = knobs.step_towards(turn.knobs) if number else start
        path.append(knobs)
    return path


@pytest.mark.parametrize("name", ["annealed:r3gan", "rank", "ada", "gap_aware", "balance", "random", "fixed"])
def test_a_chain_of_one_controller_equals_it(name: str) -> None:
    assert trajectory(Chain(of=(name,))) == trajectory(catalog.build("controllers", name))


def test_controllers_of_different_knobs_are_independent() -> None:
    chain = trajectory(Chain(of=("ada", "balance")))
    ada, balance = (trajectory(catalog.build("controllers", name)) for name in ("ada", "balance"))
    assert [knobs.augment_p for knobs in chain] == [knobs.augment_p for knobs in ada]
    assert [(knobs.lr_g, knobs.lr_d) for knobs in chain] == [(knobs.lr_g, knobs.lr_d) for knobs in balance]


def test_factors_multiply_on_a_logarithmic_scale() -> None:
    chain, annealed, distribution = trajectory(Chain()), trajectory(Annealed()), trajectory(Rank())
    assert len({knobs.lr_d for knobs in distribution}) > 5
    for combined, one, other in zip(chain, annealed, distribution, strict=True):
        for knob in ("lr_g", "lr_d"):
            base = getattr(BASE, knob)
            expected = getattr(one, knob) * getattr(other, knob) / base
            assert getattr(combined, knob) == pytest.approx(expected)


def test_differences_add_on_a_linear_scale() -> None:
    options = {"annealed": {"schedules": {"augment_p": "linear(0, 0.3)"}}}
    chain = trajectory(Chain(of=("annealed", "ada"), settings=options))
    annealed, ada = (
        trajectory(Annealed(schedules={"augment_p": "linear(0, 0.3)"})),
        trajectory(catalog.build("controllers", "ada")),
    )
    expected = [min(0.8, a.augment_p + b.augment_p) for a, b in zip(annealed, ada, strict=True)]
    assert max(expected) == 0.8
    assert [knobs.augment_p for knobs in chain] == pytest.approx(expected)


def test_the_last_controller_wins_where_the_base_is_off() -> None:
    options = {
        "annealed": {"schedules": {"r1_gamma": "constant(2)"}},
        "annealed:r3gan": {"schedules": {"r1_gamma": "constant(3)"}, "factors": {}},
    }
    chain = Chain(of=("annealed", "annealed:r3gan"), settings=options)
    assert trajectory(chain)[-1].r1_gamma == 3


def test_limits_on_moves_apply_to_each_controller() -> None:
    options = {"annealed": {"schedules": {"beta1": "step(0.9, 0.1, 0.5)"}}}
    alone = trajectory(Annealed(schedules=options["annealed"]["schedules"]))
    assert len({knobs.beta1 for knobs in alone}) > 5, "0.1 per decision"
    assert trajectory(Chain(of=("annealed", "rank"), settings=options))[-1].beta1 == alone[-1].beta1
    assert [k.beta1 for k in trajectory(Chain(of=("annealed",), settings=options))] == [k.beta1 for k in alone]


def test_reasons_name_their_controllers() -> None:
    state = Chain().initial(BASE)
    observation = Observation(20, 0.5, Signals(rank_train_fake=0.95), Health(), BASE)
    reason = Chain().update(state, observation).reasons["lr_d"]
    assert reason.startswith("annealed: cosine(1, 0.02) at 50% of the run; rank: ")
    assert "rank_train_fake 0.95 > 0.80" in reason


def test_it_is_built_from_a_list_of_names() -> None:
    built = catalog.build("controllers", "chain", {"of": "rank,annealed:cosine"})
    assert built.of == ("rank", "annealed:cosine")
    assert built.required_knobs() == {"lr_g", "lr_d"}
    assert catalog.build("controllers", "chain", {"of": "ada"}).required_knobs() == {"augment_p"}


def test_invalid_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="there is no controller 'rnk'; did you mean 'rank'"):
        Chain(of=("rnk",))
    with pytest.raises(SettingError, match="a chain needs at least one controller"):
        Chain(of=())
    with pytest.raises(SettingError, match="settings for 'ada', which is not in the chain annealed,rank"):
        Chain(settings={"ada": {}})
    with pytest.raises(UnknownNameError, match="there is no option 'trget' of controller 'rank'"):
        Chain(settings={"rank": {"trget": 1}})


def test_the_policy_of_a_link_is_pinned_by_its_digest(tmp_path: Path) -> None:
    """The settings include the digest; another file in its place is refused."""
    path = tmp_path / "p.safetensors"
    path.write_bytes(encode_policy(untrained_policy("time_only")))
    options = {"time_only": {"policy": str(path)}}
    settings = Chain(of=("time_only", "rank"), settings=options).settings
    assert settings == {"time_only": {"policy": str(path), "digest": load_policy(str(path)).digest}}
    assert Chain().settings == {}
    assert Chain(of=("time_only", "rank"), settings=settings).settings == settings
    start = untrained_policy("time_only")
    path.write_bytes(encode_policy(replace(start, actor=start.actor.with_flat(start.actor.flat() + 1))))
    with pytest.raises(SettingError, match="restore the old file"):
        Chain(of=("time_only", "rank"), settings=settings)
