"""Routes that start and resume runs: what there is to train, a preview of a run, and the start."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import get_args, get_origin

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from equipoise.errors import RunError, SettingError
from equipoise.experiment.files import load_run_experiment, parse_experiment
from equipoise.experiment.settings import Experiment, setting_specs, setting_types
from equipoise.studio.command_words import train_command
from equipoise.studio.launch import check_name, check_own_code
from equipoise.studio.responses import Body, encode_json, int_parameter, json_response, read_body
from equipoise.studio.start_questions import StartQuestions
from equipoise.studio.start_values import continued_values, start_values
from equipoise.studio.studio import Studio

WRITTEN = ("format", "versions", "budget")
"""Settings that the program writes."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Model": ("data", "model", "controller", "metric", "loss", "constraint", "options", "start_from"),
    "Length": ("minutes", "seconds", "steps", "images", "stop_at_equilibrium"),
    "Data": ("batch_size", "accumulate", "image_size"),
    "Knobs": ("knobs", "freeze", "repair", "manual"),
    "Records": ("sense_every", "sample_every", "evaluate_every", "save_every", "keep", "track"),
}
OTHER_GROUP = "Machine"
"""Group of the settings that no other names."""
TYPES: Mapping[type, str] = {bool: "bool", int: "int", float: "float", tuple: "list", dict: "table"}
EMPTY: Mapping[str, object] = {
    **dict.fromkeys(("shape", "train", "held_out", "seconds", "report_seconds", "memory", "parameters", "error")),
    **{"classes": 0, "command": "", "notes": [], "skipped": [], "skipped_count": 0, "thumbnails": []},
}
"""The fields of a preview, without values."""


class ResumeBody(Body):
    """`steps`: new total number of steps; None: those that the run was started with."""

    steps: int | None = Field(default=None, ge=1)


def routes(studio: Studio) -> list[Route]:
    """Return the routes of this topic."""
    questions = StartQuestions(trust_code=studio.trust_code)
    studio.resources.callback(questions.close)

    async def list_plugs(_: Request) -> Response:
        await questions.prepare()
        return json_response({**await questions.plugs(), "settings": describe_settings()})

    async def preview(request: Request) -> Response:
        name, experiment = _named_experiment(await _settings(request))
        if name:
            check_name(studio.root, name)
        command = train_command(experiment, studio.root / name if name else None)
        return StreamingResponse(_preview_lines(questions, experiment, command), media_type="application/x-ndjson")

    async def start(request: Request) -> Response:
        name, experiment = _named_experiment(await _settings(request))
        if experiment.data is None:
            raise SettingError("data: no data given; choose a data set, or a folder")
        if not studio.trust_code:
            check_own_code(experiment)
        if (studio.root / "experiment.json").is_file():
            raise RunError(f"{studio.root} is one run; open the studio on the folder of all runs to start others")
        folder = studio.launcher.start(studio.root, experiment, name)
        await studio.launcher.wait_until_running(folder)
        return json_response({"id": folder.name}, 201)

    async def resume(request: Request) -> Response:
        folder = studio.runs.run(request.path_params["run"]).folder
        body = await read_body(request, ResumeBody)
        if not studio.trust_code:
            check_own_code(load_run_experiment(folder))
        await studio.launcher.resume(folder, body.steps)
        await studio.launcher.wait_until_running(folder)
        return json_response({"id": request.path_params["run"]}, 202)

    return [
        Route("/api/catalog", list_plugs),
        Route("/api/preview", preview, methods=["POST"]),
        Route("/api/runs", start, methods=["POST"]),
        _form_route(studio),
        Route("/api/runs/{run}/resume", resume, methods=["POST"]),
    ]


async def _preview_lines(questions: StartQuestions, experiment: Experiment, command: str) -> AsyncIterator[bytes]:
    """Yield what is known of a run, a JSON object a line: what its data hold, later also what it costs; or an error."""
    rest = {**EMPTY, "command": command}
    try:
        async for answer in questions.preview(experiment.to_json()):
            yield encode_json({**rest, **answer}) + b"\n"
    except RunError as error:  # the answer has begun, so that its status can no longer say so
        yield encode_json({**rest, "error": str(error)}) + b"\n"


def _form_route(studio: Studio) -> Route:
    def begin(request: Request) -> Response:
        run, query = studio.runs.open(request.path_params["run"]), request.query_params
        if "step" not in query:
            return json_response(start_values(run, twin=query.get("twin") == "1"))
        step = int_parameter(request, "step", 0, 0, 10**12) if query["step"] != "best" else None
        return json_response(continued_values(run, step, query.get("symptom", "")))

    return Route("/api/runs/{run}/start", begin)


def describe_settings() -> list[dict[str, object]]:
    """Return name, type, range, choices, unit, help and group of each setting that a person can set."""
    groups = {name: group for group, names in GROUPS.items() for name in names}
    return [
        {
            "name": name,
            "type": "plug" if spec.plug else _type_name(name),
            "help": spec.help,
            "group": groups.get(name, OTHER_GROUP),
            "choices": list(spec.choices),
            "minimum": spec.minimum,
            "above": spec.above,
            "maximum": spec.maximum,
            "unit": spec.unit,
            "default": None,
        }
        for name, spec in setting_specs().items()
        if name not in WRITTEN
    ]


def _type_name(name: str) -> str:
    """Return the type of a setting for a form: bool, int, float, list, table, text, or size for a number or text."""
    types = [get_origin(part) or part for part in get_args(setting_types()[name])]
    if int in types and str in types:
        return "size"
    if any(isinstance(kind, type) and issubclass(kind, Mapping) for kind in types):
        return "table"
    return next((word for kind, word in TYPES.items() if kind in types), "text")


async def _settings(request: Request) -> Mapping[str, object]:
    try:
        values = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise SettingError("the settings are not JSON; send the fields that the page sends") from error
    if not isinstance(values, dict):
        raise SettingError("the settings are not a table; send the fields that the page sends")
    return values


def _named_experiment(values: Mapping[str, object]) -> tuple[str, Experiment]:
    """Return the name of the run ("" if none was given) and the experiment of a form, with valid ranges.

    Raises SettingError for settings that the program writes.
    """
    values = dict(values)
    name = values.pop("name", "")
    if not isinstance(name, str):
        raise SettingError("name: it must be a string")
    if written := [name for name in WRITTEN if name in values]:
        raise SettingError(f"{written[0]} is written by the program; leave it out")
    experiment = parse_experiment(values, "the form")
    experiment.check_ranges()
    return name.strip(), experiment
