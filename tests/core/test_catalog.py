"""The catalog: a name is a module, a stranger's module is as good, and a wrong name is answered with the right one."""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from equipoise.controllers.fixed import Fixed
from equipoise.core import catalog
from equipoise.errors import SettingError, UnknownNameError

KINDS = ("models", "data", "controllers", "metrics")

STRANGER = '''"""A stranger's controller."""
from dataclasses import dataclass
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
    """Write a module into a package of a stranger's; all of it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "stranger_lab").mkdir()

    def write_module(name: str, source: str) -> str:
        (tmp_path / "stranger_lab" / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return f"stranger_lab.{name}"

    yield write_module
    for name in [name for name in sys.modules if name.partition(".")[0] == "stranger_lab"]:
        del sys.modules[name]


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_the_public_files_of_the_folder(kind: catalog.Kind) -> None:
    folder = Path(catalog.__file__).parent / kind
    files = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    assert catalog.names(kind) == files
    assert len(files) >= 2


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in catalog.names(kind)])
def test_every_plug_is_one_public_class_of_its_own_module(kind: catalog.Kind, name: str) -> None:
    plug = catalog.load(kind, name)
    assert plug.__module__ == f"equipoise.{kind}.{name}"
    assert sys.modules[plug.__module__].__all__ == [plug.__name__]
    assert catalog.summary(kind, name)
    for preset, options in catalog.presets(kind, name).items():
        assert catalog.load(kind, f"{name}:{preset}") is plug
        assert isinstance(catalog.build(kind, f"{name}:{preset}"), plug)
        assert options, preset


def test_a_preset_is_overlaid_by_options() -> None:
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
        ("models", "dcgn", "there is no GAN 'dcgn'; did you mean 'dcgan'?"),
        ("models", "dcgn:celeba64", "there is no GAN 'dcgn'; did you mean 'dcgan'?"),
        ("data", "rings", "there is no data set 'rings'; did you mean 'ring'?"),
        ("controllers", "aneal", "there is no controller 'aneal'; did you mean 'annealed'?"),
        ("metrics", "mixture_mode", "there is no metric 'mixture_mode'; did you mean 'mixture_modes'?"),
        ("controllers", "zzz", "there is no controller 'zzz'; there is: ada, annealed, "),
        ("models", "_adversarial", "there is no GAN '_adversarial'"),
        ("models", "", "there is no GAN ''"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(kind: catalog.Kind, name: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        catalog.build(kind, name)
    assert str(caught.value).startswith(message)


def test_a_wrong_preset_or_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no preset of GAN 'mlp' 'unroled'; did you mean 'unrolled'"):
        catalog.build("models", "mlp:unroled")
    with pytest.raises(UnknownNameError, match=r"no preset of controller 'fixed' 'gentle'; there are none$"):
        catalog.build("controllers", "fixed:gentle")
    with pytest.raises(UnknownNameError, match="no option of GAN 'mlp' 'widht'; did you mean 'width'"):
        catalog.build("models", "mlp:unrolled", {"widht": 3})
    with pytest.raises(UnknownNameError, match="no option of controller 'fixed' 'gain'"):
        catalog.build("controllers", "fixed", {"gain": 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": "wide"}, "GAN 'mlp': width = 'wide': input should be a valid integer"),
        ({"width": 1.5}, r"GAN 'mlp': width = 1\.5: input should be a valid integer"),
        ({"knobs": {"lr_g": "fast"}}, r"GAN 'mlp': knobs\.lr_g = 'fast': input should be a valid number"),
    ],
)
def test_a_value_of_a_wrong_type_is_told(options: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        catalog.build("models", "mlp", options)


def test_a_missing_option_is_told() -> None:
    with pytest.raises(SettingError, match="data set 'needy' needs folder; give it as an option"):
        catalog.checked(Needy, {}, "data set 'needy'")
    assert catalog.checked(Needy, {"folder": "here"}, "data set 'needy'").folder == "here"


def test_a_strangers_module_is_a_plug(write) -> None:
    name = write("nudge", STRANGER)
    plug = catalog.load("controllers", name)
    assert plug.__name__ == "Nudge"
    assert catalog.build("controllers", name).strength == 1.0
    assert catalog.build("controllers", f"{name}:gentle").strength == 0.1
    rough = catalog.build("controllers", f"{name}:rough", {"tries": 9})
    assert (rough.strength, rough.way, rough.tries) == (2.0, "down", 9)
    assert catalog.summary("controllers", name) == "A stranger's controller."
    assert catalog.names("controllers") == sorted(catalog.names("controllers"))
    assert "nudge" not in catalog.names("controllers")


def test_a_strangers_mistakes_are_answered_alike(write) -> None:
    name = write("nudge", STRANGER)
    with pytest.raises(UnknownNameError, match="did you mean 'gentle'"):
        catalog.build("controllers", f"{name}:gentel")
    with pytest.raises(UnknownNameError, match="did you mean 'strength'"):
        catalog.build("controllers", name, {"strenght": 1})
    with pytest.raises(SettingError, match="tries = 'many': input should be a valid integer"):
        catalog.build("controllers", name, {"tries": "many"})
    with pytest.raises(UnknownNameError, match=r"there is no module for a controller 'stranger_lab\.nugde'"):
        catalog.load("controllers", "stranger_lab.nugde")
    with pytest.raises(UnknownNameError, match=r"there is no module for a GAN 'no_such_lab\.gan'"):
        catalog.load("models", "no_such_lab.gan:preset")


@pytest.mark.parametrize(
    ("line", "count"), [('__all__ = ["Nudge", "NOT_PUBLIC"]', 2), ("__all__ = []", 0), ("# nothing is public", 0)]
)
def test_a_module_must_name_one_public_class(write, line: str, count: int) -> None:
    name = write("several", STRANGER.replace('__all__ = ["Nudge"]', line))
    with pytest.raises(SettingError, match=rf"module 'stranger_lab\.several' must name one .* __all__, not {count}"):
        catalog.load("controllers", name)


def test_building_makes_equal_values_each_time() -> None:
    assert catalog.build("controllers", "fixed") == Fixed()
    assert catalog.build("models", "mlp:unrolled") == catalog.build("models", "mlp:unrolled", {"width": 128})


def test_a_choice_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no loss 'hinged'; did you mean 'hinge'"):
        catalog.build("models", "mlp", {"loss": "hinged"})
    with pytest.raises(UnknownNameError, match="no activation 'None'; there is: leaky_relu, relu, tanh"):
        catalog.build("models", "mlp", {"activation": None})
