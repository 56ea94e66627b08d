"""Loading plugs by name. A plug is one file with one public class; there is no registry.

`dcgan`           the public class of `equipoise.models.dcgan`, or of an entry point of an installed package
`dcgan:celeba64`  the same with the options of that preset
`mylab.my_model`  the public class of a custom module
`./my_model.py`   the public class of a custom file

Entry points belong to the group `equipoise.models`, `equipoise.data`, `equipoise.controllers` or `equipoise.metrics`.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import blake2b
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from equipoise.core.own_code import describe_error, place_of_error
from equipoise.core.validation import check_type
from equipoise.errors import EquipoiseError, SettingError, UnknownNameError

PlugKind = Literal["models", "data", "controllers", "metrics"]
PlugClass = type[Any]
"""The class of a plug: a dataclass whose fields are its options."""

T = TypeVar("T")

NOUNS: Mapping[PlugKind, str] = {
    "models": "model",
    "data": "data set",
    "controllers": "controller",
    "metrics": "metric",
}

PLAIN_MESSAGES: Mapping[str, str] = {
    "tuple_type": "it must be a list",
    "dataclass_type": "it must be a name, or a table of a name and options",
}
"""Replacements for messages of pydantic that name Python types, for users who write TOML."""


def names(kind: PlugKind) -> list[str]:
    """List the names of all plugs of a kind, sorted: from this package and from other installed packages.

    No plug is imported.
    """
    return sorted({*_own_names(kind), *installed_plugs(kind)})


def installed_plugs(kind: str) -> dict[str, list[EntryPoint]]:
    """Return the entry points of other packages in the group `equipoise.KIND`, by name."""
    result: dict[str, list[EntryPoint]] = {}
    for entry_point in _entry_points(f"equipoise.{kind}"):
        result.setdefault(entry_point.name, []).append(entry_point)
    return result


@cache
def _own_names(kind: PlugKind) -> tuple[str, ...]:
    package = importlib.util.find_spec(f"equipoise.{kind}")
    assert package is not None
    modules = pkgutil.iter_modules(package.submodule_search_locations)
    return tuple(sorted(module.name for module in modules if not module.name.startswith("_")))


@cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def split_preset(name: str) -> tuple[str, str | None]:
    """Split the name of a plug into its base name and its preset; the preset is None if there is none."""
    path, suffix, preset = name.rpartition(".py:")
    if suffix:
        return f"{path}.py", preset
    if is_file(name):
        return name, None
    base, colon, preset = name.partition(":")
    return base, preset if colon else None


def is_file(name: str) -> bool:
    """Whether the name of a plug is the path of a Python file."""
    return name.rpartition(".py:")[0] != "" or name.endswith(".py")


def absolute_name(name: str) -> str:
    """Return the name of a plug, with an absolute path if it is a file, so that it is valid in any folder."""
    if not is_file(name):
        return name
    base, preset = split_preset(name)
    path = str(Path(base).expanduser().resolve())
    return path if preset is None else f"{path}:{preset}"


_refusal: list[str] = []
"""What a user must do before custom modules and files are imported in this process; empty if they may be."""


def refuse_custom_code(remedy: str) -> None:
    """Never import custom modules and files in this process: they may be named by a run folder of another person.

    `remedy`: what the user can do, the end of the message.
    """
    _refusal[:] = [remedy]


def load(kind: PlugKind, name: str) -> PlugClass:
    """Load the class of a plug. Raises UnknownNameError for an unknown name, SettingError for an invalid module.

    After :func:`refuse_custom_code`, SettingError for every custom module and file, which is not imported.
    """
    base, _ = split_preset(name)
    is_known = base in _own_names(kind) or base in installed_plugs(kind)
    if _refusal and not is_known and (is_file(base) or "." in base or "/" in base):
        raise SettingError(f"the {NOUNS[kind]} '{base}' is custom code, which is not run here; {_refusal[0]}")
    if is_file(base):
        module = _module_of_file(kind, base)
    elif "/" in base or base.startswith("."):
        raise SettingError(
            f"'{base}' is not a {NOUNS[kind]}; name a custom one by module, mylab.my_plug, or by file, ./my_plug.py"
        )
    elif base in _own_names(kind):
        module = importlib.import_module(f"equipoise.{kind}.{base}")
    elif base in installed_plugs(kind):
        return _class_of_entry_point(kind, base)
    elif "." in base:
        module = _custom_module(kind, base)
    else:
        raise UnknownNameError(NOUNS[kind], base, names(kind))
    return _public_class(module)


def _custom_module(kind: PlugKind, name: str) -> ModuleType:
    try:
        with _import_errors(f"module '{name}'"):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        place = f"for a {NOUNS[kind]}; check its name and the Python path"
        raise UnknownNameError("module", name, None, place) from error


@contextlib.contextmanager
def _import_errors(owner: str) -> Iterator[None]:
    """Convert every error of an import to a SettingError that names the line; `owner`: what is imported.

    A ModuleNotFoundError of the module that is imported, not of one that it needs, is raised unchanged.
    """
    try:
        yield
    except EquipoiseError:
        raise
    except (Exception, SystemExit) as error:
        place = place_of_error(error)
        if isinstance(error, ModuleNotFoundError):
            if place is None and error.name and f"'{error.name}" in owner:
                raise
            raise SettingError(f"{place or owner} needs a missing module; install it: {error.name}") from error
        if place is None:
            raise SettingError(f"{owner} cannot be imported: {describe_error(error)}") from error
        raise SettingError(f"{place}: {describe_error(error)}; correct it, then try again") from error


def _module_of_file(kind: PlugKind, name: str) -> ModuleType:
    """Import a Python file, once per process. Its name and folder can be any: sys.path is not used."""
    path = Path(name).expanduser().resolve()
    module_name = f"equipoise_plug_{blake2b(str(path).encode(), digest_size=8).hexdigest()}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    if not path.is_file():
        raise SettingError(f"there is no file {name} for a {NOUNS[kind]}; check the path")
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
    try:
        with _import_errors(f"'{name}'"):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _class_of_entry_point(kind: PlugKind, name: str) -> PlugClass:
    """Load an entry point. Raises SettingError if several packages define it, or it cannot be imported."""
    entry, *duplicates = installed_plugs(kind)[name]
    if duplicates:
        values = ", ".join(sorted({each.value for each in (entry, *duplicates)}))
        raise SettingError(
            f"several installed packages define the {NOUNS[kind]} '{name}': {values}; uninstall all but one"
        )
    with _import_errors(f"the {NOUNS[kind]} '{name}' of {entry.value}"):
        target = entry.load()
    return _public_class(target) if isinstance(target, ModuleType) else target


def _public_class(module: ModuleType) -> PlugClass:
    public = getattr(module, "__all__", [])
    if len(public) != 1:
        name = module.__name__ if not module.__name__.startswith("equipoise_plug_") else module.__file__
        raise SettingError(f"module '{name}' must name one public class in __all__, not {len(public)}")
    result: PlugClass = getattr(module, public[0])
    return result


def presets(kind: PlugKind, name: str) -> dict[str, dict[str, object]]:
    """Return the options of each preset of a plug, by name."""
    return {preset: dict(options) for preset, options in getattr(load(kind, name), "presets", {}).items()}


def build(kind: PlugKind, name: str, options: Mapping[str, object] | None = None, *, source: str | None = None) -> Any:
    """Build a plug with the options of its preset, overridden by `options`. `source`: as in :func:`construct`.

    Raises UnknownNameError for a plug, preset or option that does not exist, SettingError for a value of a wrong type.
    """
    plug = load(kind, name)
    values: dict[str, object] = {}
    base, preset = split_preset(name)
    if preset is not None:
        available = presets(kind, name)
        if preset not in available:
            raise UnknownNameError("preset", preset, available, f"of {NOUNS[kind]} '{base}'")
        values |= available[preset]
    values |= options or {}
    return construct(plug, values, f"{NOUNS[kind]} '{base}'", source=source)


def construct(cls: type[T], values: Mapping[str, object], owner: str, *, source: str | None = None) -> T:
    """Build `cls(**values)` with validated types. `owner`: description of `cls` in messages.

    `source`: the file that the values come from, whose types must be right; None if they come from the command line,
    where each value is text, which is converted. Raises UnknownNameError for an unknown name, SettingError for an
    invalid value.
    """
    parameters = inspect.signature(cls).parameters
    for name in values:
        if name not in parameters:
            raise UnknownNameError("option", name, parameters, f"of {owner}")
    if not dataclasses.is_dataclass(cls):
        raise SettingError(f"{owner} must be a dataclass, whose fields are its options; {cls.__name__} is not one")
    if source is not None:
        hints = get_type_hints(cls)
        for name, value in values.items():
            check_type(f"{source}: {name}", value, hints[name])
    try:
        result: T = _adapter(cls).validate_python(_split_lists(cls, values))
        return result
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"]) or owner
        if first["type"] == "literal_error":
            choices = re.findall(r"'([^']+)'", first["ctx"]["expected"])
            raise UnknownNameError(option, str(first["input"]), choices) from error
        if first["type"] == "missing":
            raise SettingError(f"{owner} needs {option}; give it as an option") from error
        problem = PLAIN_MESSAGES.get(first["type"], first["msg"].lower().removeprefix("value error, "))
        raise SettingError(f"{owner}: {option} = {first['input']!r}: {problem}") from error


@cache
def _adapter(cls: type[object]) -> TypeAdapter[Any]:
    """Create the validator of a class, once: it takes ten milliseconds, which matters for hundreds of small runs."""
    return TypeAdapter(cls)


def _split_lists(cls: type[object], values: Mapping[str, object]) -> dict[str, object]:
    """Split strings at commas for options that are lists: types=type_2,type_3 on the command line, or types=."""
    hints = get_type_hints(cls)
    lists = {name for name, hint in hints.items() if any(get_origin(part) is tuple for part in (hint, *get_args(hint)))}
    return {
        name: [part.strip() for part in value.split(",") if value]
        if name in lists and isinstance(value, str)
        else value
        for name, value in values.items()
    }


def has_option(kind: PlugKind, name: str, option: str) -> bool:
    """Return whether a plug has an option of this name."""
    plug = load(kind, name)
    return dataclasses.is_dataclass(plug) and option in {field.name for field in dataclasses.fields(plug)}


def summary(kind: PlugKind, name: str) -> str:
    """Return the first line of the docstring of a plug's module."""
    return (inspect.getdoc(inspect.getmodule(load(kind, name))) or "").partition("\n")[0]
