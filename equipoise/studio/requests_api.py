"""Routes of manual control: send a request to a running training, and list those that wait."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from equipoise.core.requests import RunRequest, parse_request
from equipoise.errors import RunError, resume_command
from equipoise.runs.knob_checks import check_knob
from equipoise.runs.requests import waiting_requests, write_request
from equipoise.studio.progress_words import describe_progress
from equipoise.studio.responses import Body, json_response, read_body
from equipoise.studio.studio import Studio

SENDER = "studio"


class RequestBody(Body):
    """A request to a run, see :mod:`equipoise.core.requests`; fields that an action does not take are refused there."""

    action: str
    knob: str | None = None
    value: float | None = None
    text: str | None = None


def routes(studio: Studio) -> list[Route]:
    """Return the routes of this topic."""

    async def send(request: Request) -> Response:
        name = request.path_params["run"]
        run = studio.runs.run(name)
        body = await read_body(request, RequestBody)
        values = body.model_dump(exclude_none=True)
        wanted = parse_request({**values, "by": SENDER})
        if studio.runs.row(name).state != "running":
            return json_response(_stop_before_start(studio, name, wanted), 202)
        if wanted.action in ("turn", "release"):
            _check_knob(studio, name, wanted)
        is_repeated = wanted.action == "stop" and any(old.action == "stop" for old in waiting_requests(run.folder))
        if is_repeated and studio.launcher.terminate(run.folder):
            return json_response({"request": None, "signal": "SIGTERM"}, 202)
        request_id = write_request(run.folder, wanted)
        words = describe_progress(studio.runs.open(name), studio.runs.row(name))
        return json_response({"request": request_id, "next": words["next"]}, 202)

    def list_waiting(request: Request) -> Response:
        waiting = waiting_requests(studio.runs.run(request.path_params["run"]).folder)
        return json_response({"requests": [_to_json(item) for item in waiting]})

    path = "/api/runs/{run}/requests"
    return [Route(path, send, methods=["POST"]), Route(path, list_waiting)]


def _stop_before_start(studio: Studio, name: str, request: RunRequest) -> dict[str, object]:
    """Stop a process that was started here and does not train yet. Raises RunError for any other request."""
    folder = studio.runs.run(name).folder
    if request.action == "stop" and studio.launcher.terminate(folder):
        return {"request": None, "signal": "SIGTERM"}
    raise RunError(f"{name} is not running, so nobody takes requests; resume it with: {resume_command(folder)}")


def _check_knob(studio: Studio, name: str, request: RunRequest) -> None:
    """Raise SettingError for a knob that does not act in a run or is frozen, and for a value outside its range."""
    opened = studio.runs.open(name)
    started = opened.log.events("started")
    turnable, frozen = started[-1].get("turnable") if started else None, opened.run.experiment().get("freeze")
    check_knob(opened.run.folder, request.knob, request.value, turnable=turnable, frozen=frozen)


def _to_json(request: RunRequest) -> dict[str, object]:
    if request.problem:
        return {"request": request.id, "action": request.action, "problem": request.problem}
    return {"request": request.id, **request.to_json()}
