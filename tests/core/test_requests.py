"""Requests to a running training: what their JSON values may be."""

import json

import pytest

from equipoise.core.requests import FIELDS, MAX_TEXT, RunRequest, parse_request
from equipoise.errors import EquipoiseError, SettingError, UnknownNameError

EXAMPLES = {
    "turn": {"knob": "lr_d", "value": 1e-4},
    "release": {"knob": "lr_d"},
    "note": {"text": "softer"},
}


@pytest.mark.parametrize("action", FIELDS)
def test_every_action_survives_its_file(action: str) -> None:
    values = {"action": action, **EXAMPLES.get(action, {}), "by": "studio"}
    request = parse_request(json.loads(json.dumps(values)), "1-ab")
    assert request.to_json() == values
    assert (request.action, request.by, request.id, request.problem) == (action, "studio", "1-ab", "")
    assert parse_request(request.to_json(), "1-ab") == request


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([], "JSON object"),
        ("turn", "JSON object"),
        ({}, "no action 'None'"),
        ({"action": "dance"}, "no action 'dance'"),
        ({"action": "invalid"}, "no action 'invalid'"),
        ({"action": ["turn"]}, "no action"),
        ({"action": "turn", "knob": "lr_d"}, "lacks 'value'"),
        ({"action": "turn", "value": 1}, "lacks 'knob'"),
        ({"action": "turn", "knob": 3, "value": 1}, "knob must be text, not int"),
        ({"action": "turn", "knob": "lr_d", "value": "1e-4"}, "value must be a number, not str"),
        ({"action": "turn", "knob": "lr_d", "value": True}, "value must be a number, not bool"),
        ({"action": "turn", "knob": "lr_d", "value": float("nan")}, "finite"),
        ({"action": "turn", "knob": "lr_d", "value": float("inf")}, "finite"),
        ({"action": "turn", "knob": "lr_d", "value": 10**400}, "finite"),
        ({"action": "turn", "knob": "lr_d", "value": 1, "code": "x"}, "no field 'code'"),
        ({"action": "sample", "knob": "lr_d"}, "no field 'knob'"),
        ({"action": "release", "knob": "  "}, "knob is empty"),
        ({"action": "note", "text": "x" * (MAX_TEXT + 1)}, "2,001 characters"),
        ({"action": "note", "text": None}, "text must be text"),
        ({"action": "sample", "by": "x" * 100}, "by has 100 characters"),
    ],
)
def test_nonsense_is_named_in_one_line(values: object, named: str) -> None:
    with pytest.raises((SettingError, UnknownNameError)) as error:
        parse_request(values)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_an_integer_is_a_value() -> None:
    assert parse_request({"action": "turn", "knob": "generator_steps", "value": 2}) == RunRequest(
        "turn", "generator_steps", 2.0
    )


def test_lone_surrogates_do_not_reach_the_log() -> None:
    text = parse_request({"action": "note", "text": "a\ud800b"}).text
    text.encode("utf-8")
    assert issubclass(UnknownNameError, EquipoiseError)
