"""Routes of the explorer: pictures of samples, what can be explored in a run, and projections under way."""

import re
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from equipoise.studio.explore_requests import ExploreRequest, ProjectRequest, SeedsRequest
from equipoise.studio.explorer import SupersededError
from equipoise.studio.frames import Frame
from equipoise.studio.responses import int_parameter, json_response, parse_body, read_body
from equipoise.studio.sample_pictures import draw_sample
from equipoise.studio.studio import Studio

COMMAND_HEADER, STEP_HEADER, TRAITS_HEADER = "x-equipoise-command", "x-equipoise-step", "x-equipoise-traits"
NOTES_HEADER = "x-equipoise-notes"
SAFE = " /=-_.,:'\"@#+~"
"""Characters of a command that stay as they are in its header; the others are percent-encoded UTF-8."""
JOB_NAME = re.compile(r"p\d{1,6}")
JOB_PARTS = {"": "describe", "picture.png": "picture", "latents.safetensors": "latents", "cancel": "cancel"}


def routes(studio: Studio) -> list[Route]:
    """Return the routes of the explorer."""
    explorer = studio.explorer

    async def explore(request: Request) -> Response:
        body = (await read_body(request, ExploreRequest)).root
        folder = studio.runs.run(body.run).folder
        values = {"action": "explore", "folder": str(folder)}
        is_job = isinstance(body, ProjectRequest)
        try:
            answer = await explorer.request(values, await request.body(), "" if is_job else f"client {body.client}")
        except SupersededError as error:
            return json_response({"error": str(error), "superseded": True}, 409)
        if "values" in answer.values:
            return json_response(answer.values["values"])
        if is_job:
            return json_response({name: answer.values.get(name) for name in ("job", "step")}, 202)
        return _picture_response(answer)

    async def describe(request: Request) -> Response:
        folder = studio.runs.run(request.path_params["run"]).folder
        step = request.query_params.get("step") or None
        answer = await explorer.request({"action": "describe", "folder": str(folder), "step": step})
        return json_response(answer.values["values"])

    async def job(request: Request) -> Response:
        name, part = request.path_params["job"], request.path_params.get("part", "")
        if not JOB_NAME.fullmatch(name) or part not in JOB_PARTS or (part == "cancel") != (request.method == "POST"):
            return json_response({"error": "there is no such page"}, 404)
        answer = await explorer.request({"action": "job", "job": name, "part": JOB_PARTS[part]})
        return json_response(answer.values["values"]) if "values" in answer.values else _picture_response(answer)

    return [
        *_other_pictures(studio),
        Route("/api/explore", explore, methods=["POST"]),
        Route("/api/explore/{run}", describe),
        Route("/api/explore/jobs/{job}", job),
        Route("/api/explore/jobs/{job}/{part}", job, methods=["GET", "POST"]),
    ]


def _other_pictures(studio: Studio) -> list[Route]:
    """Return the routes of pictures that a page shows by their address."""
    explorer = studio.explorer

    async def thumbnail(request: Request) -> Response:
        content = request.query_params.get("body", "").encode()
        folder = studio.runs.run(parse_body(content, SeedsRequest).run).folder
        answer = await explorer.request({"action": "explore", "folder": str(folder)}, content)
        return _picture_response(answer, "private, max-age=3600")

    async def show_neighbours(request: Request) -> Response:
        run = await run_in_threadpool(studio.runs.open, request.path_params["run"])
        step = int_parameter(request, "step", 0, 0, 2**53)
        index = int_parameter(request, "index", 0, 0, 10_000)
        picture = await run_in_threadpool(draw_sample, run, step, index, 1)
        answer = await explorer.request({"action": "neighbours", "folder": str(run.run.folder)}, picture)
        return _picture_response(answer)

    return [
        Route("/api/explore/samples/thumbnail.png", thumbnail),
        Route("/api/runs/{run}/neighbours", show_neighbours),
    ]


def _picture_response(answer: Frame, caching: str = "no-store") -> Response:
    values = answer.values
    headers = {"x-content-type-options": "nosniff", "cache-control": caching}
    for header, name in ((COMMAND_HEADER, "command"), (NOTES_HEADER, "notes")):
        if values.get(name):
            headers[header] = quote(str(values[name]), safe=SAFE)
    if values.get("traits"):
        headers[TRAITS_HEADER] = str(values["traits"])
    if "step" in values:
        headers[STEP_HEADER] = str(values["step"])
    return Response(answer.content, media_type=str(values["type"]), headers=headers)
