"""Schedules: functions from progress in [0, 1] to a value, decided in advance (open loop).

A schedule is written like a function call, in TOML and on the command line:

    linear(0.1, 0)                              from 0.1 to 0
    join(warm_up(2e-4), 0.1, cosine(2e-4, 0))   warm-up in the first tenth of the run, then cosine
"""

import ast
import bisect
import inspect
import math
from collections.abc import Callable, Mapping
from functools import lru_cache

from equipoise.core.knobs import KnobRange
from equipoise.errors import SettingError, UnknownNameError

Schedule = Callable[[float], float]


def constant(value: float) -> Schedule:
    """value.

    >>> constant(0.3)(0.7)
    0.3
    """
    return lambda progress: value


def linear(start: float, end: float) -> Schedule:
    """start + (end - start) p.

    >>> linear(1, 0)(0.25)
    0.75
    """
    return lambda progress: start + (end - start) * progress


def exponential(start: float, end: float) -> Schedule:
    """start (end / start)^p; both must be positive.

    >>> exponential(1, 0.01)(0.5)
    0.1
    """
    if start <= 0 or end <= 0:
        raise SettingError(
            f"exponential({start:g}, {end:g}): start and end must be positive; use cosine or linear to reach 0"
        )
    return lambda progress: start * (end / start) ** progress


def cosine(start: float, end: float) -> Schedule:
    """end + (start - end) (1 + cos(pi p)) / 2 (Loshchilov 2017, equation 5, without restarts).

    >>> cosine(1, 0)(0.5)
    0.5
    """
    return lambda progress: end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def step(start: float, factor: float, every: float) -> Schedule:
    """start factor^floor(p / every): a staircase; `every` is a share of the run, in (0, 1].

    >>> step(1, 0.5, 0.25)(0.6)
    0.25
    """
    if not 0 < every <= 1:
        raise SettingError(f"step(…, every={every:g}): every must be a share of the run, above 0 and at most 1")
    return lambda progress: start * factor ** math.floor(progress / every + 1e-9)


def warm_up(value: float, over: float = 1.0) -> Schedule:
    """value min(1, p / over): rises from 0 to the value, then constant; `over` is a share of the run, in (0, 1].

    >>> warm_up(2, over=0.5)(0.25)
    1.0
    """
    if not 0 < over <= 1:
        raise SettingError(f"warm_up(…, over={over:g}): over must be a share of the run, above 0 and at most 1")
    return lambda progress: value * min(1.0, progress / over)


def join(*pieces: Schedule | float) -> Schedule:
    """Several schedules in turn, with rising shares of the run between them: each runs from 0 to 1 in its part.

    >>> join(warm_up(1), 0.5, linear(1, 0))(0.75)
    0.5
    """
    schedules = [piece for piece in pieces[::2] if callable(piece)]
    inner = [piece for piece in pieces[1::2] if not callable(piece)]
    bounds = [0.0, *inner, 1.0]
    if len(schedules) != len(inner) + 1 or len(schedules) + len(inner) != len(pieces) or bounds != sorted({*bounds}):
        raise SettingError("join needs schedules with rising shares of the run between them: join(a, 0.1, b, 0.6, c)")

    def joined(progress: float) -> float:
        piece = bisect.bisect_right(inner, progress)
        begin, end = bounds[piece], bounds[piece + 1]
        return schedules[piece]((progress - begin) / (end - begin))

    return joined


SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    shape.__name__: shape for shape in (constant, linear, exponential, cosine, step, warm_up, join)
}


@lru_cache(maxsize=1024, typed=True)  # controllers parse at every decision
def parse(text: str | float) -> Schedule:
    """Parse a schedule; a plain number is a constant.

    Raises UnknownNameError for an unknown function, SettingError for text that cannot be parsed.

    >>> parse("cosine(1, 0)")(1.0)
    0.0
    """
    try:
        return _schedule(ast.parse(str(text).strip(), mode="eval").body, str(text))
    except (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise SettingError(f"cannot read the schedule '{text}'; write it like linear(0.1, 0)") from error


POINTS = 1000
"""Number of parts of the run at whose ends the values of a schedule are checked."""


def check_range(name: str, text: str | float, limits: KnobRange) -> None:
    """Raise SettingError if a schedule of the value of a knob leaves its range.

    On a logarithmic scale, values from 0 to the lowest are valid, and the lowest is used: a rate that decays to 0.
    """
    schedule = parse(text)
    values = [schedule(point / POINTS) for point in range(POINTS + 1)]
    low, high = min(values), max(values)
    lowest = 0.0 if limits.scale == "log" or limits.can_be_off else limits.low
    if low >= lowest and high <= limits.high:
        return
    value = high if high > limits.high else low
    raise SettingError(f"{name} = '{text}' reaches {value:g}, which is outside its range: {limits}")


def _schedule(node: ast.expr, text: str) -> Schedule:
    if not isinstance(node, ast.Call):
        return constant(_number(node, text))
    name = ast.unparse(node.func)
    if name not in SCHEDULES:
        raise UnknownNameError("schedule", name, SCHEDULES)
    parse_argument = _piece if name == "join" else _number
    positional = [parse_argument(argument, text) for argument in node.args]
    named = {keyword.arg or "": _number(keyword.value, text) for keyword in node.keywords}
    try:
        return SCHEDULES[name](*positional, **named)
    except TypeError as error:
        signature = f"{name}{inspect.signature(SCHEDULES[name])}".partition(" ->")[0]
        raise SettingError(f"cannot read the schedule '{text}'; its form is {signature}") from error


def _piece(node: ast.expr, text: str) -> Schedule | float:
    return _schedule(node, text) if isinstance(node, ast.Call) else _number(node, text)


def _number(node: ast.expr, text: str) -> float:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SettingError(f"cannot read the schedule '{text}': '{ast.unparse(node)}' is not a number")
    return float(value)
