"""Schedules: values computed by hand, parsing, and safety: no text is ever executed."""

import doctest
import math

import pytest

from equipoise.core import schedules
from equipoise.core.schedules import SCHEDULES, constant, cosine, exponential, join, linear, parse, step, warm_up
from equipoise.errors import SettingError, UnknownNameError

# Schedule, its text, and its values at progress 0, 0.5 and 1.
BY_HAND = [
    (constant(0.3), "constant(0.3)", (0.3, 0.3, 0.3)),
    (linear(0.1, 0.02), "linear(0.1, 0.02)", (0.1, 0.06, 0.02)),
    (linear(-1, 3), "linear(-1, 3)", (-1, 1, 3)),
    (exponential(1e-2, 1e-6), "exponential(1e-2, 1e-6)", (1e-2, 1e-4, 1e-6)),
    (cosine(1, 0.1), "cosine(1, 0.1)", (1, 0.55, 0.1)),
    (step(8, 0.5, 0.25), "step(8, 0.5, 0.25)", (8, 2, 0.5)),
    (warm_up(2e-4), "warm_up(2e-4)", (0, 1e-4, 2e-4)),
    (warm_up(3, over=0.25), "warm_up(3, over=0.25)", (0, 3, 3)),
    (join(warm_up(1), 0.25, constant(1), 0.75, linear(1, 0)), None, (0, 1, 0)),
]


@pytest.mark.parametrize(("schedule", "text", "expected"), BY_HAND, ids=lambda item: str(item)[:24])
def test_values_at_the_ends_and_in_the_middle(schedule, text, expected) -> None:
    assert [schedule(p) for p in (0.0, 0.5, 1.0)] == pytest.approx(expected, rel=1e-12)
    if text is not None:
        assert [parse(text)(p) for p in (0.0, 0.37, 1.0)] == [schedule(p) for p in (0.0, 0.37, 1.0)]


def test_every_schedule_is_covered() -> None:
    covered = {text.partition("(")[0] for _, text, _ in BY_HAND if text} | {"join"}
    assert covered == set(SCHEDULES)


def test_slopes_follow_the_formulas() -> None:
    """Independent derivation: constant growth of the exponential, the differential equation of the cosine."""
    growth = exponential(3, 0.2)
    assert growth(0.4) / growth(0.3) == pytest.approx(growth(0.9) / growth(0.8))
    wave, h = cosine(2, 1), 1e-4
    second = (wave(0.3 + h) - 2 * wave(0.3) + wave(0.3 - h)) / h**2
    assert second == pytest.approx(-(math.pi**2) * (wave(0.3) - 1.5), rel=1e-4)


def test_step_changes_at_its_edges() -> None:
    stairs = step(1, 0.1, 0.1)
    assert [round(math.log10(stairs(n / 10))) for n in range(11)] == [-n for n in range(11)]
    assert stairs(0.0999) == 1


def test_end_values_are_exact() -> None:
    for shape in (linear, cosine):
        for start, end in ((2e-4, 0), (0.1, 0.3), (1, 1e-3)):
            assert shape(start, end)(0.0) == start
            assert shape(start, end)(1.0) == pytest.approx(end, abs=1e-18)


def test_join_runs_each_schedule_over_its_own_part() -> None:
    joined = join(linear(0, 1), 0.2, linear(10, 20), 0.7, linear(5, 3))
    assert joined(0.1) == pytest.approx(0.5)
    assert joined(0.45) == pytest.approx(15)
    assert joined(0.85) == pytest.approx(4)
    assert joined(0.2) == 10, "a boundary belongs to the later schedule"
    assert joined(0.2 - 1e-12) == pytest.approx(1)
    assert joined(0.7) == 5
    assert joined(1.0) == 3
    assert join(linear(1, 0))(0.25) == 0.75, "a single schedule is unchanged"


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (0.5,),
        (constant(1), 0.5),
        (constant(1), constant(2)),
        (0.5, constant(1), 0.7),
        (constant(1), 0.6, constant(2), 0.4, constant(3)),
        (constant(1), 0.5, constant(2), 0.5, constant(3)),
        (constant(1), 0, constant(2)),
        (constant(1), 1, constant(2)),
        (constant(1), 1.5, constant(2)),
    ],
)
def test_join_of_other_arguments_is_an_error(pieces) -> None:
    with pytest.raises(SettingError, match=r"rising shares.*join\(a, 0\.1, b, 0\.6, c\)"):
        join(*pieces)


@pytest.mark.parametrize(("text", "value"), [("0.25", 0.25), (" 3".strip(), 3.0), (7, 7.0), (1e-4, 1e-4), ("-2", -2.0)])
def test_number_is_a_constant(text, value) -> None:
    for progress in (0.0, 0.4, 1.0):
        assert parse(text)(progress) == value
        assert type(parse(text)(progress)) is float


def test_joins_can_be_nested() -> None:
    nested = parse("join(warm_up(2e-4), 0.1, join(constant(2e-4), 0.5, cosine(2e-4, 0)))")
    assert nested(0.05) == pytest.approx(1e-4)
    assert nested(0.3) == 2e-4
    assert nested(0.775) == pytest.approx(1e-4), "halfway through the last half of the last nine tenths"
    assert nested(1.0) == pytest.approx(0, abs=1e-18)


def test_arguments_can_be_named() -> None:
    assert parse("cosine(end=0, start=1)")(0.0) == 1
    assert parse("step(1, factor=0.5, every=0.5)")(0.5) == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"cannot read the schedule ''; write it like linear\(0\.1, 0\)"),
        ("linear(0.1, 0", r"cannot read the schedule .*; write it like"),
        ("linear 0.1 0", r"cannot read the schedule .*; write it like"),
        ("x = 1", "cannot read the schedule 'x = 1'; write it like"),
        ("linear(0.1)", r"linear\(start: float, end: float\)"),
        ("linear(1, 2, 3)", r"linear\(start: float, end: float\)"),
        ("cosine(1, 0, begin=3)", r"cosine\(start"),
        ("linear(a, 0)", "'a' is not a number"),
        ("linear('1', 0)", "''1'' is not a number"),
        ("linear(1 if 2 else 3, 0)", "'1 if 2 else 3' is not a number"),
        ("linear([1], 0)", r"'\[1\]' is not a number"),
        ("linear(1j, 0)", "'1j' is not a number"),
        ("linear(None, 0)", "'None' is not a number"),
        ("linear(*[1, 2])", r"is not a number"),
        ("linear(**{'start': 1})", r"is not a number"),
        ("linear(linear(1, 0), 0)", r"'linear\(1, 0\)' is not a number"),
        ("warm_up", "'warm_up' is not a number"),
        ("nan", "'nan' is not a number"),
        ("1e400", "is not a number"),
        ("exponential(1, 0)", r"exponential\(1, 0\): .* positive"),
        ("step(1, 0.5, 0)", r"every=0\): .*above 0 and at most 1"),
        ("step(1, 0.5, 1.5)", r"every=1\.5\): .*share of the run"),
        ("warm_up(1, 0)", r"over=0\): .*share of the run"),
        ("join(1, 0.5, 2)", "rising shares"),
    ],
)
def test_invalid_schedule_is_an_error(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosin(1, 0)", "there is no schedule 'cosin'; did you mean 'cosine'?"),
        ("warmup(1)", "there is no schedule 'warmup'; did you mean 'warm_up'?"),
        ("quadratic_bezier(1)", "; available: constant, cosine, exponential, join, linear, step, warm_up"),
        ("__import__('os')", "there is no schedule '__import__'"),
        ("__import__('os').system('true')", "there is no schedule '__import__"),
        ("schedules.linear(1, 0)", "there is no schedule 'schedules.linear'"),
        ("linear(1, 0)(0.5)", r"there is no schedule 'linear\(1, 0\)'"),
        ("(lambda: linear)()(1, 0)", "there is no schedule"),
        ("join(open('x'), 0.5, linear(1, 0))", "there is no schedule 'open'"),
    ],
)
def test_only_schedules_are_called(text: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message.replace("?", r"\?")):
        parse(text)


def test_no_text_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments are rejected before anything is called."""
    called = []
    monkeypatch.setattr("builtins.__import__", called.append)
    for text in ("__import__('os')", "linear(__import__('os'), 0)", "join(__import__('os'), 0.5, linear(1, 0))"):
        with pytest.raises((SettingError, UnknownNameError)):
            parse(text)
    assert called == []


def test_docstring_examples() -> None:
    results = doctest.testmod(schedules)
    assert results.attempted >= len(SCHEDULES) + 1
    assert results.failed == 0
