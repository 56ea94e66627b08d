"""The catalog: plugs by name, custom modules and files, entry points, presets, options, and error messages."""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from equipoise.controllers.fixed import Fixed
from equipoise.core import catalog
from equipoise.errors import SettingError, UnknownNameError

KINDS = ("models", "data", "controllers", "metrics")

CUSTOM_MODULE = '''"""A custom controller."""
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar, Literal

__all__ = ["Nudge"]
NOT_PUBLIC = 1


@dataclass(frozen=True)
class Nudge:
    """Nudges."""

    presets: ClassVar = {"gentle": {"strength": 0.1}, "rough": {"strength": 2.0, "way": "down"}}
    strength: float = 1.0
    way: Literal["up", "down"] = "up"
    tries: int = 3
'''


@dataclass(frozen=True)
class Needy:
    folder: str


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Write a module of another package; it is unloaded afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "custom_lab").mkdir()

    def write_module(name: str, source: str) -> str:
        (tmp_path / "custom_lab" / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return f"custom_lab.{name}"

    yield write_module
    for name in [name for name in sys.modules if name.partition(".")[0] == "custom_lab"]:
        del sys.modules[name]


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_public_files_of_the_folder(kind: catalog.PlugKind) -> None:
    folder = Path(catalog.__file__).parents[1] / kind
    files = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    assert catalog.names(kind) == files
    assert len(files) >= 2


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in catalog.names(kind)])
def test_every_plug_is_one_public_class_of_its_module(kind: catalog.PlugKind, name: str) -> None:
    plug = catalog.load(kind, name)
    assert plug.__module__ == f"equipoise.{kind}.{name}"
    assert sys.modules[plug.__module__].__all__ == [plug.__name__]
    assert catalog.summary(kind, name)
    for preset, options in catalog.presets(kind, name).items():
        assert catalog.load(kind, f"{name}:{preset}") is plug
        assert isinstance(catalog.build(kind, f"{name}:{preset}"), plug)
        assert options, preset


def test_options_override_preset() -> None:
    preset = catalog.build("models", "mlp:unrolled")
    assert (preset.width, preset.activation, preset.depth) == (128, "tanh", 2)
    both = catalog.build("models", "mlp:unrolled", {"width": 7, "depth": 5})
    assert (both.width, both.activation, both.depth) == (7, "tanh", 5)
    plain = catalog.build("models", "mlp", {"width": 7})
    assert (plain.width, plain.activation) == (7, "leaky_relu")


def test_presets_are_copies() -> None:
    catalog.presets("models", "mlp")["unrolled"]["width"] = 1
    assert catalog.presets("models", "mlp")["unrolled"]["width"] == 128
    assert catalog.presets("controllers", "fixed") == {}


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("models", "dcgn", "there is no model 'dcgn'; did you mean 'dcgan'?"),
        ("models", "dcgn:celeba64", "there is no model 'dcgn'; did you mean 'dcgan'?"),
        ("data", "rings", "there is no data set 'rings'; did you mean 'ring'?"),
        ("controllers", "aneal", "there is no controller 'aneal'; did you mean 'annealed'?"),
        ("metrics", "mixture_mode", "there is no metric 'mixture_mode'; did you mean 'mixture_modes'?"),
        ("controllers", "zzz", "there is no controller 'zzz'; available: ada, annealed, "),
        ("models", "_adversarial", "there is no model '_adversarial'"),
        ("models", "", "there is no model ''"),
    ],
)
def test_unknown_plug_suggests_a_similar_name(kind: catalog.PlugKind, name: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        catalog.build(kind, name)
    assert str(caught.value).startswith(message)


def test_unknown_preset_or_option_suggests_a_similar_name() -> None:
    with pytest.raises(UnknownNameError, match="no preset 'unroled' of model 'mlp'; did you mean 'unrolled'"):
        catalog.build("models", "mlp:unroled")
    with pytest.raises(UnknownNameError, match=r"no preset 'gentle' of controller 'fixed'; none are available$"):
        catalog.build("controllers", "fixed:gentle")
    with pytest.raises(UnknownNameError, match="no option 'widht' of model 'mlp'; did you mean 'width'"):
        catalog.build("models", "mlp:unrolled", {"widht": 3})
    with pytest.raises(UnknownNameError, match="no option 'gain' of controller 'fixed'"):
        catalog.build("controllers", "fixed", {"gain": 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": "wide"}, "model 'mlp': width = 'wide': input should be a valid integer"),
        ({"width": 1.5}, r"model 'mlp': width = 1\.5: input should be a valid integer"),
        ({"knobs": {"lr_g": "fast"}}, r"model 'mlp': knobs\.lr_g = 'fast': input should be a valid number"),
    ],
)
def test_value_of_wrong_type_is_reported(options: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        catalog.build("models", "mlp", options)


def test_missing_option_is_reported() -> None:
    with pytest.raises(SettingError, match="data set 'needy' needs folder; give it as an option"):
        catalog.construct(Needy, {}, "data set 'needy'")
    assert catalog.construct(Needy, {"folder": "here"}, "data set 'needy'").folder == "here"


def test_custom_module_is_a_plug(write) -> None:
    name = write("nudge", CUSTOM_MODULE)
    plug = catalog.load("controllers", name)
    assert plug.__name__ == "Nudge"
    assert catalog.build("controllers", name).strength == 1.0
    assert catalog.build("controllers", f"{name}:gentle").strength == 0.1
    rough = catalog.build("controllers", f"{name}:rough", {"tries": 9})
    assert (rough.strength, rough.way, rough.tries) == (2.0, "down", 9)
    assert catalog.summary("controllers", name) == "A custom controller."
    assert catalog.names("controllers") == sorted(catalog.names("controllers"))
    assert "nudge" not in catalog.names("controllers")


def test_errors_of_custom_modules_are_reported_the_same_way(write) -> None:
    name = write("nudge", CUSTOM_MODULE)
    with pytest.raises(UnknownNameError, match="did you mean 'gentle'"):
        catalog.build("controllers", f"{name}:gentel")
    with pytest.raises(UnknownNameError, match="did you mean 'strength'"):
        catalog.build("controllers", name, {"strenght": 1})
    with pytest.raises(SettingError, match="tries = 'many': input should be a valid integer"):
        catalog.build("controllers", name, {"tries": "many"})
    with pytest.raises(UnknownNameError, match=r"there is no module 'custom_lab\.nugde'"):
        catalog.load("controllers", "custom_lab.nugde")
    with pytest.raises(UnknownNameError, match=r"there is no module 'no_such_lab\.gan'"):
        catalog.load("models", "no_such_lab.gan:preset")


@pytest.mark.parametrize(
    ("line", "count"), [('__all__ = ["Nudge", "NOT_PUBLIC"]', 2), ("__all__ = []", 0), ("# nothing is public", 0)]
)
def test_module_must_name_one_public_class(write, line: str, count: int) -> None:
    name = write("several", CUSTOM_MODULE.replace('__all__ = ["Nudge"]', line))
    with pytest.raises(SettingError, match=rf"module 'custom_lab\.several' must name one .* __all__, not {count}"):
        catalog.load("controllers", name)


def test_building_twice_gives_equal_values() -> None:
    assert catalog.build("controllers", "fixed") == Fixed()
    assert catalog.build("models", "mlp:unrolled") == catalog.build("models", "mlp:unrolled", {"width": 128})


def test_unknown_choice_suggests_a_similar_one() -> None:
    with pytest.raises(UnknownNameError, match="no loss 'hinged'; did you mean 'hinge'"):
        catalog.build("models", "mlp", {"loss": "hinged"})
    with pytest.raises(UnknownNameError, match="no activation 'None'; available: leaky_relu, relu, tanh"):
        catalog.build("models", "mlp", {"activation": None})


def test_custom_file_is_a_plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my nudge.py").write_text(CUSTOM_MODULE)
    monkeypatch.chdir(tmp_path)
    name = "./my nudge.py"
    assert catalog.load("controllers", name) is catalog.load("controllers", str(tmp_path / "my nudge.py"))
    assert catalog.build("controllers", f"{name}:gentle", {"tries": 2}).strength == 0.1
    assert catalog.summary("controllers", name) == "A custom controller."
    assert catalog.absolute_name(f"{name}:gentle") == f"{tmp_path / 'my nudge.py'}:gentle"
    assert catalog.absolute_name("dcgan:lab32") == "dcgan:lab32"
    with pytest.raises(UnknownNameError, match="did you mean 'gentle'"):
        catalog.build("controllers", f"{name}:gentel")
    with pytest.raises(SettingError, match=r"there is no file \./other\.py for a controller"):
        catalog.load("controllers", "./other.py")
    with pytest.raises(SettingError, match=r"'\./nudge' is not a controller; .*\./my_plug\.py"):
        catalog.load("controllers", "./nudge")


@pytest.mark.parametrize("line", ["raise ValueError('broken')", "__all__ = []"])
def test_errors_of_a_custom_file_are_reported_each_time(tmp_path: Path, line: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(line)
    for _ in range(2):
        with pytest.raises((ValueError, SettingError), match=r"broken"):
            catalog.load("models", str(path))


def test_entry_points_of_other_packages_are_plugs(write, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write("nudge", CUSTOM_MODULE)
    group = "equipoise.controllers"
    points = (
        EntryPoint("nudge", module, group),
        EntryPoint("nudge_class", f"{module}:Nudge", group),
        EntryPoint("fixed", module, group),
        EntryPoint("twice", module, group),
        EntryPoint("twice", "other.module", group),
        EntryPoint("missing", "no_such_package.module", group),
    )
    monkeypatch.setattr(catalog, "_entry_points", lambda name: points if name == group else ())
    assert {"nudge", "nudge_class", "twice"} <= set(catalog.names("controllers"))
    assert module not in sys.modules, "listing imports nothing"
    assert catalog.build("controllers", "nudge:rough").way == "down"
    assert catalog.load("controllers", "nudge_class") is catalog.load("controllers", "nudge")
    assert catalog.load("controllers", "fixed") is Fixed, "plugs of this package take precedence"
    assert "nudge" not in catalog.names("models")
    with pytest.raises(SettingError, match=rf"several .* 'twice': {module}, other\.module; uninstall"):
        catalog.load("controllers", "twice")
    with pytest.raises(
        SettingError, match=r"'missing' of no_such_package\.module needs a missing module.*no_such_package"
    ):
        catalog.load("controllers", "missing")
