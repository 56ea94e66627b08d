"""Route of samples that are texts, as text: they are selected, searched and read aloud, which no picture can be."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from equipoise.studio.responses import json_response
from equipoise.studio.sample_pictures import read_texts
from equipoise.studio.studio import Studio


def routes(studio: Studio) -> list[Route]:
    """Return the routes of this topic."""

    def show_texts(request: Request) -> Response:
        run, step = studio.runs.open(request.path_params["run"]), request.path_params["step"]
        return json_response({"step": step, "texts": read_texts(run, step)})

    return [Route("/api/runs/{run}/samples/{step:int}/texts", show_texts)]
