"""Chains: each link as if it were alone, and what they come to together."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from equipoise.controllers.annealed import Annealed
from equipoise.controllers.chain import Chain
from equipoise.controllers.rank import Rank
from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError, UnknownNameError
from equipoise.policy.blank import blank
from equipoise.policy.files import encoded, read

BASE = AdversarialKnobs().with_values({"lr_g": 1e-3, "lr_d": 2e-3, "beta1": 0.5})
READINGS = 30


def course(controller, base=BASE):
    state, knobs, path = controller.initial(base), base, []
    for number in range(READINGS + 1):
        progress = number / READINGS
        rank = 0.95 if progress < 0.4 else 0.3
        signals = Signals(rank_train_fake=rank, rank_train_held_out=progress) if number else Signals()
        turn = controller.update(json.loads(json.dumps(state)), Observation(number, progress, signals, Health(), knobs))
        state = turn.state
        ranges = base.ranges()
        start = base.with_values({name: ranges[name].clamp(getattr(turn.knobs, name)) for name in ranges})
        knobs = knobs.clamped(turn.knobs) if number else start
        path.append(knobs)
    return path


@pytest.mark.parametrize("name", ["annealed:r3gan", "rank", "ada", "gap_aware", "balance", "random", "fixed"])
def test_a_chain_of_one_is_that_one(name: str) -> None:
    assert course(Chain(of=(name,))) == course(catalog.build("controllers", name))


def test_links_that_turn_different_knobs_do_not_meet() -> None:
    chain = course(Chain(of=("ada", "balance")))
    ada, balance = (course(catalog.build("controllers", name)) for name in ("ada", "balance"))
    assert [knobs.augment_p for knobs in chain] == [knobs.augment_p for knobs in ada]
    assert [(knobs.lr_g, knobs.lr_d) for knobs in chain] == [(knobs.lr_g, knobs.lr_d) for knobs in balance]


def test_on_a_logarithmic_knob_factors_multiply() -> None:
    chain, falling, distribution = course(Chain()), course(Annealed()), course(Rank())
    assert len({knobs.lr_d for knobs in distribution}) > 5
    for together, one, other in zip(chain, falling, distribution, strict=True):
        for knob in ("lr_g", "lr_d"):
            base = getattr(BASE, knob)
            expected = getattr(one, knob) * getattr(other, knob) / base
            assert getattr(together, knob) == pytest.approx(expected)


def test_on_a_linear_knob_differences_add() -> None:
    options = {"annealed": {"schedules": {"augment_p": "linear(0, 0.3)"}}}
    chain = course(Chain(of=("annealed", "ada"), settings=options))
    falling, ada = (
        course(Annealed(schedules={"augment_p": "linear(0, 0.3)"})),
        course(catalog.build("controllers", "ada")),
    )
    expected = [min(0.8, a.augment_p + b.augment_p) for a, b in zip(falling, ada, strict=True)]
    assert max(expected) == 0.8
    assert [knobs.augment_p for knobs in chain] == pytest.approx(expected)


def test_where_the_base_is_off_the_last_wins() -> None:
    options = {
        "annealed": {"schedules": {"r1_gamma": "constant(2)"}},
        "annealed:r3gan": {"schedules": {"r1_gamma": "constant(3)"}, "factors": {}},
    }
    chain = Chain(of=("annealed", "annealed:r3gan"), settings=options)
    assert course(chain)[-1].r1_gamma == 3


def test_limits_on_moves_bind_each_link() -> None:
    options = {"annealed": {"schedules": {"beta1": "step(0.9, 0.1, 0.5)"}}}
    alone = course(Annealed(schedules=options["annealed"]["schedules"]))
    assert len({knobs.beta1 for knobs in alone}) > 5, "0.1 a decision"
    assert course(Chain(of=("annealed", "rank"), settings=options))[-1].beta1 == alone[-1].beta1
    assert [k.beta1 for k in course(Chain(of=("annealed",), settings=options))] == [k.beta1 for k in alone]


def test_reasons_name_who_gives_them() -> None:
    state = Chain().initial(BASE)
    seen = Observation(20, 0.5, Signals(rank_train_fake=0.95), Health(), BASE)
    why = Chain().update(state, seen).why["lr_d"]
    assert why == "annealed: cosine(1, 0.02) at 50% of the run; rank: rank_train_fake 0.95 > 0.80"


def test_it_is_written_as_a_list_of_names() -> None:
    built = catalog.build("controllers", "chain", {"of": "rank,annealed:cosine"})
    assert built.of == ("rank", "annealed:cosine")
    assert built.turns() == {"lr_g", "lr_d"}
    assert catalog.build("controllers", "chain", {"of": "ada"}).turns() == {"augment_p"}


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(UnknownNameError, match="there is no controller 'rnk'; did you mean 'rank'"):
        Chain(of=("rnk",))
    with pytest.raises(SettingError, match="a chain is of at least one controller"):
        Chain(of=())
    with pytest.raises(SettingError, match="settings for 'ada', which is not in the chain annealed,rank"):
        Chain(settings={"ada": {}})
    with pytest.raises(UnknownNameError, match="there is no option of controller 'rank' 'trget'"):
        Chain(settings={"rank": {"trget": 1}})


def test_a_link_follows_the_policy_that_the_run_began_with(tmp_path: Path) -> None:
    """What is written out in full has the digest; another file in its place is refused."""
    path = tmp_path / "p.safetensors"
    path.write_bytes(encoded(blank("time_only")))
    told = {"time_only": {"policy": str(path)}}
    settings = Chain(of=("time_only", "rank"), settings=told).settings
    assert settings == {"time_only": {"policy": str(path), "digest": read(str(path)).digest}}
    assert Chain().settings == {}
    assert Chain(of=("time_only", "rank"), settings=settings).settings == settings
    start = blank("time_only")
    path.write_bytes(encoded(replace(start, actor=start.actor.with_flat(start.actor.flat() + 1))))
    with pytest.raises(SettingError, match="as the run began with; put the old file back"):
        Chain(of=("time_only", "rank"), settings=settings)
