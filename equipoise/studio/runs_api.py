"""Routes that show runs: the table, a run, its curves, its timeline, its samples and its events."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from equipoise.studio.responses import json_response
from equipoise.studio.studio import Studio


def routes(studio: Studio) -> list[Route]:
    """Return the routes of this topic."""

    def list_runs(_: Request) -> Response:
        return json_response({"root": str(studio.root), "runs": [{"id": name} for name in studio.runs.names()]})

    return [Route("/api/runs", list_runs)]
