"""What this part needs that does not come with the package unless it is asked for."""

from importlib.util import find_spec

from equipoise.errors import SettingError

PACKAGES = {"gymnasium": "gymnasium", "stable_baselines3": "stable-baselines3", "cma": "cma"}
"""Module -> how it is installed."""


def need(module: str, purpose: str) -> None:
    """Raise SettingError if a package is not there, with the command that installs it."""
    if find_spec(module) is None:
        raise SettingError(f"{purpose} needs {PACKAGES[module]}; install it with: pip install 'equipoise[rl]'")
