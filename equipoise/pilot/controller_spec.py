"""Which controller a state is of: its name and its options, so that no other goes on from it."""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from equipoise.core.observations import Controller
from equipoise.errors import SettingError


def name_of(controller: Controller) -> str:
    """The name of a controller: that of its class, in lower case with underscores."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", type(controller).__name__).lower()


def identity(controller: Controller) -> dict[str, Any]:
    """Name and options of a controller, as JSON has them. One that is no dataclass has no options to tell of."""
    one: Any = controller
    options = dataclasses.asdict(one) if dataclasses.is_dataclass(one) and not isinstance(one, type) else {}
    return {"name": name_of(controller), "options": json.loads(json.dumps(options, default=str))}


def check_same(saved: Mapping[str, Any], controller: Controller) -> None:
    """Raise SettingError if what was saved by :func:`identity` is of another controller, or of other options.

    Options that a later version added are not asked for.
    """
    mine = identity(controller)
    if saved["name"] != mine["name"]:
        raise SettingError(
            f"the state is that of controller '{saved['name']}', not of '{mine['name']}'; go on with that one"
        )
    for option, value in saved["options"].items():
        here = mine["options"].get(option)
        if here != value:
            whose = f"'{mine['name']}' with {option} = {value}, not {here}"
            raise SettingError(f"the state is that of {whose}; go on with the same options")
