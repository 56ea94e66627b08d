"""The JSON state of a pilot: it belongs to one controller, and states of earlier versions can be loaded."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from equipoise.controllers.annealed import AnnealedState
from equipoise.controllers.chain import Chain
from equipoise.controllers.fixed import Fixed
from equipoise.controllers.rank import LoopState, Rank, RankState
from equipoise.core import catalog
from equipoise.core.controller import state_from_json
from equipoise.core.knobs import AdversarialKnobs, Knobs
from equipoise.errors import SettingError
from equipoise.pilot.pilot import ModelInfo, Pilot
from equipoise.pilot.state import ControllerSpec, SavedPilot, check_same_controller, controller_spec

MODEL = ModelInfo(turnable=frozenset({"lr_g", "lr_d"}))


def saved_values(controller: Any) -> Mapping[str, Any]:
    values: Mapping[str, Any] = json.loads(
        json.dumps(Pilot(controller, steps=9, knobs=Knobs(), model_info=MODEL).state()[1])
    )
    return values


@pytest.mark.parametrize("name", catalog.names("controllers"))
def test_a_controller_accepts_its_own_state(name: str) -> None:
    first, second = (catalog.build("controllers", name) for _ in range(2))
    check_same_controller(ControllerSpec(*json.loads(json.dumps(controller_spec(first)))), second)


@pytest.mark.parametrize(
    ("saved", "controller", "message"),
    [
        ("rank", "annealed", "belongs to the controller 'rank', not to 'annealed'; use 'rank'"),
        (Rank(balance=0.4), "rank", r"belongs to 'rank' with balance = 0.4, not 0.5; use the same options"),
        (Chain(of=("rank",)), Chain(of=("rank", "annealed")), r"belongs to 'chain' with of = \['rank'\], not"),
    ],
)
def test_the_state_of_another_controller_is_refused(saved: Any, controller: Any, message: str) -> None:
    pilot = Pilot(controller, steps=9, knobs=Knobs(), model_info=MODEL)
    with pytest.raises(SettingError, match=message):
        pilot.restore(0, 0, {}, saved_values(saved))


def test_a_state_without_a_controller_or_a_newer_option_is_accepted() -> None:
    older = dict(saved_values(Rank()))
    del older["controller_spec"]
    Pilot(Rank(), steps=9, knobs=Knobs(), model_info=MODEL).restore(0, 0, {}, older)
    check_same_controller(ControllerSpec("rank", {"balance": 0.5}), Rank())
    check_same_controller(controller_spec(Fixed()), Fixed())


def test_names_of_earlier_versions_are_read() -> None:
    present = saved_values(Rank())
    older = {name: present[name] for name in ("knobs", "controller", "metrics", "history", "phases", "settings")}
    applied = {"step": 3, "symptom": "divergence", "rung": 1, "until": 9, "anew": True}
    older |= {"wish": present["target"], "identity": present["controller_spec"], "following": {}}
    older |= {"chart": {"overrides": [], "given": [applied], "lost": 2}}
    pilot = Pilot(Rank(), steps=9, knobs=Knobs(), model_info=MODEL)
    pilot.restore(3, 10, {}, older)
    saved = SavedPilot.of(pilot.state()[1])
    assert saved.target == present["target"]
    assert saved.repair["lost_steps"] == 2
    assert pilot.state()[1]["repair"]["applied"][0]["restarted"] is True


OLDER_POLICY = {"stands": {"lr_g": 1e-3}, "begun": True, "positions": [0.5], "decided": 0.25}
OLDER_FEATURES = {"at": 0.5, "tracks": {"loss_g": [1.0, 1.0, 1.0, 1, 1.0, 0.0]}}
LOOP = {"level": 0.5, "integral": 0.1, "progress": 0.3}
OLDER_RANK = {"base": {"lr_g": 1e-3, "lr_d": 1e-3}, "balance": LOOP, "overfit": LOOP}


@pytest.mark.parametrize(
    ("name", "values", "field", "expected"),
    [
        ("annealed", {"lr_g": 1e-3}, "base", {"lr_g": 1e-3}),
        (
            "balance",
            {"lr_g": 1.0, "lr_d": 1.0, "level": None, "progress": 0.1, "decided": 0.2, "slowed": {}, "quiet": ["lr_g"]},
            "calm",
            ("lr_g",),
        ),
        (
            "learnable",
            {**OLDER_POLICY, "below": OLDER_RANK, "features": OLDER_FEATURES},
            "base_state",
            RankState(OLDER_RANK["base"], LoopState(**LOOP), LoopState(**LOOP)),
        ),
        (
            "time_only",
            {**OLDER_POLICY, "below": {"lr_g": 1e-3, "lr_d": 2e-3}, "features": OLDER_FEATURES},
            "base_state",
            AnnealedState({"lr_g": 1e-3, "lr_d": 2e-3}),
        ),
        ("ppo", {**OLDER_POLICY, "below": {}, "features": OLDER_FEATURES, "distance": 3.0}, "last_decision", 0.25),
    ],
)
def test_controller_states_of_earlier_versions_are_read(
    name: str, values: Mapping[str, object], field: str, expected: object
) -> None:
    controller = catalog.build("controllers", name)
    state = state_from_json(controller.initial(AdversarialKnobs()), values)
    assert getattr(state, field) == expected


def test_a_chain_restores_the_typed_state_of_every_controller() -> None:
    controller = catalog.build("controllers", "chain", {"of": ("annealed", "rank")})
    links = [{"state": {"lr_g": 1e-3}, "moved": {"lr_g": 5e-4}}, {"state": OLDER_RANK, "moved": {}}]
    older = {"base": {"lr_g": 1e-3}, "begun": True, "links": links}
    state = state_from_json(controller.initial(AdversarialKnobs()), older)
    assert [type(link.state) for link in state.links] == [AnnealedState, RankState]
    assert (state.has_started, state.links[0].changes) == (True, {"lr_g": 5e-4})
