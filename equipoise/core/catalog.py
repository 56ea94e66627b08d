"""Names become plugs here: a name is a module. There is no registry; a file dropped into a plug folder is a feature.

`dcgan` is the one public class of `equipoise.models.dcgan`; `dcgan:celeba64` the same with the options of that preset;
`mylab.my_gan` the one public class of a stranger's module.
"""

import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from equipoise.errors import SettingError, UnknownNameError

Kind = Literal["models", "data", "controllers", "metrics"]
NOUNS: Mapping[Kind, str] = {"models": "GAN", "data": "data set", "controllers": "controller", "metrics": "metric"}

PLAINER: Mapping[str, str] = {
    "tuple_type": "it must be a list",
    "dataclass_type": "it must be a name, or a table of a name and options",
}
"""What pydantic says of the types of Python, for those who write TOML."""


def names(kind: Kind) -> list[str]:
    """The names of all plugs of a kind, sorted."""
    package = importlib.util.find_spec(f"equipoise.{kind}")
    assert package is not None
    return sorted(
        module.name
        for module in pkgutil.iter_modules(package.submodule_search_locations)
        if not module.name.startswith("_")
    )


def load(kind: Kind, name: str) -> type[Any]:
    """The class behind `name`, a preset's options aside. Raises UnknownNameError with the nearest right one."""
    name = name.partition(":")[0]
    if "/" in name or name.startswith("."):
        raise SettingError(f"a {NOUNS[kind]} of your own is named like a module, mylab.my_plug, not '{name}'")
    if "." in name:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise SettingError(f"module '{name}' needs a module that is not installed: {error.name}") from error
            raise UnknownNameError(f"module for a {NOUNS[kind]}", name, []) from error
    elif name in names(kind):
        module = importlib.import_module(f"equipoise.{kind}.{name}")
    else:
        raise UnknownNameError(NOUNS[kind], name, names(kind))
    public = getattr(module, "__all__", [])
    if len(public) != 1:
        raise SettingError(f"module '{module.__name__}' must name one public class in __all__, not {len(public)}")
    result: type[Any] = getattr(module, public[0])
    return result


def presets(kind: Kind, name: str) -> dict[str, dict[str, Any]]:
    """Preset name -> options, of one plug."""
    return {preset: dict(options) for preset, options in getattr(load(kind, name), "presets", {}).items()}


def build(kind: Kind, name: str, options: Mapping[str, Any] | None = None) -> Any:
    """The plug `name` with the options of its preset, overlaid by `options`; both checked against its fields.

    Raises UnknownNameError for a plug, preset or option that does not exist, SettingError for a value of a wrong type.
    """
    plug = load(kind, name)
    chosen: dict[str, Any] = {}
    base, colon, preset = name.partition(":")
    if colon:
        known = presets(kind, name)
        if preset not in known:
            raise UnknownNameError(f"preset of {NOUNS[kind]} '{base}'", preset, known)
        chosen |= known[preset]
    chosen |= options or {}
    return checked(plug, chosen, f"{NOUNS[kind]} '{base}'")


def checked(cls: type[Any], values: Mapping[str, Any], owner: str) -> Any:
    """`cls(**values)` with types checked; unknown names are answered with the nearest right one."""
    known = inspect.signature(cls).parameters
    for name in values:
        if name not in known:
            raise UnknownNameError(f"option of {owner}", name, known)
    if not dataclasses.is_dataclass(cls):
        raise SettingError(f"{owner} must be a dataclass, whose fields are its options; {cls.__name__} is none")
    try:
        return _adapter(cls).validate_python(_split(cls, values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or owner
        if first["type"] == "literal_error":
            choices = re.findall(r"'([^']+)'", first["ctx"]["expected"])
            raise UnknownNameError(where, str(first["input"]), choices) from error
        if first["type"] == "missing":
            raise SettingError(f"{owner} needs {where}; give it as an option") from error
        wrong = PLAINER.get(first["type"], first["msg"].lower().removeprefix("value error, "))
        raise SettingError(f"{owner}: {where} = {first['input']!r}: {wrong}") from error


@cache
def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    """What checks the fields of a class: ten milliseconds to make, which hundreds of small runs would feel."""
    return TypeAdapter(cls)


def _split(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Words with commas for options that are lists, as the command line has them: types=type_2,type_3, or types=."""
    hints = get_type_hints(cls)
    lists = {name for name, hint in hints.items() if any(get_origin(one) is tuple for one in (hint, *get_args(hint)))}
    return {
        name: [part.strip() for part in value.split(",") if value]
        if name in lists and isinstance(value, str)
        else value
        for name, value in values.items()
    }


def summary(kind: Kind, name: str) -> str:
    """The first line of the docstring of a plug's module."""
    return (inspect.getdoc(inspect.getmodule(load(kind, name))) or "").partition("\n")[0]
