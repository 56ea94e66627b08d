"""A state goes to the controller that it is of, and to no other."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from equipoise.controllers.chain import Chain
from equipoise.controllers.fixed import Fixed
from equipoise.controllers.rank import Rank
from equipoise.core import catalog
from equipoise.core.knobs import Knobs
from equipoise.errors import SettingError
from equipoise.pilot.controller_spec import check_same, identity
from equipoise.pilot.pilot import ModelInfo, Pilot

RULES = ModelInfo(turnable=frozenset({"lr_g", "lr_d"}))


def state(controller: Any) -> Mapping[str, Any]:
    values: Mapping[str, Any] = json.loads(
        json.dumps(Pilot(controller, steps=9, knobs=Knobs(), rules=RULES).state()[1])
    )
    return values


@pytest.mark.parametrize("name", catalog.names("controllers"))
def test_every_controller_knows_its_own(name: str) -> None:
    one, same = (catalog.build("controllers", name) for _ in range(2))
    check_same(json.loads(json.dumps(identity(one))), same)


@pytest.mark.parametrize(
    ("saved", "controller", "said"),
    [
        ("rank", "annealed", "the state is that of controller 'rank', not of 'annealed'; go on with that one"),
        (Rank(balance=0.4), "rank", r"that of 'rank' with balance = 0.4, not 0.5; go on with the same options"),
        (Chain(of=("rank",)), Chain(of=("rank", "annealed")), r"that of 'chain' with of = \['rank'\], not"),
    ],
)
def test_the_state_of_another_is_told(saved: Any, controller: Any, said: str) -> None:
    pilot = Pilot(controller, steps=9, knobs=Knobs(), rules=RULES)
    with pytest.raises(SettingError, match=said):
        pilot.restore(0, 0, {}, state(saved))


def test_an_older_state_is_taken() -> None:
    """One that says nothing of its controller, and one from before an option was added."""
    older = dict(state(Rank()))
    del older["identity"]
    Pilot(Rank(), steps=9, knobs=Knobs(), rules=RULES).restore(0, 0, {}, older)
    known = identity(Rank())
    check_same({**known, "options": {"balance": 0.5}}, Rank())
    check_same(identity(Fixed()), Fixed())
