"""Periods in which a person held a knob, from the log."""

from equipoise.runs.manual_control import HoldPeriod, hold_periods


def request(step: int, action: str, knob: str, value: float | None = None, **fields: object) -> dict[str, object]:
    return {"event": "requested", "step": step, "action": action, "knob": knob, "value": value, **fields}


def test_a_hold_lasts_until_the_next_value_the_release_or_the_end() -> None:
    lines = [
        request(5, "turn", "lr_d", 1e-4, by="studio"),
        request(7, "turn", "lr_g", 2e-4),
        request(9, "turn", "lr_d", 1e-3),
        {"event": "turned", "step": 9, "knob": "lr_d"},
        request(20, "release", "lr_d"),
    ]
    periods = hold_periods(lines)
    assert periods == [
        HoldPeriod("lr_d", 1e-4, 5, 9, "studio"),
        HoldPeriod("lr_g", 2e-4, 7),
        HoldPeriod("lr_d", 1e-3, 9, 20),
    ]
    assert [str(period) for period in periods[:2]] == [
        "lr_d was held at 0.0001 from step 5 to step 9",
        "lr_g was held at 0.0002 from step 7 to the end",
    ]


def test_refused_and_malformed_lines_are_ignored() -> None:
    lines = [
        request(5, "turn", "lr_x", 1.0, refused="there is no such knob"),
        request(5, "release", "lr_d"),
        request(5, "sample", ""),
        {"event": "requested"},
        {"event": "requested", "step": "5", "action": "turn", "knob": "lr_d", "value": 1},
        {"event": "requested", "step": 5, "action": "turn", "knob": ["lr_d"], "value": 1},
        {"event": "requested", "step": 5, "action": "turn", "knob": "lr_d", "value": "1"},
    ]
    assert hold_periods(lines) == []
