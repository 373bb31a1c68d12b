"""The service: routes, limits, and what every answer says. One process, no database; see `jobs` and `worker`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request

from boneray import __version__
from boneray.core.errors import ConfigError
from boneray.core.purpose import DEMONSTRATION, RESEARCH_USE
from boneray.io.files import read_json
from boneray.models.card import find_checkpoint, read_card
from boneray.models.checkpoint_names import is_demonstration, packaged_checkpoints
from boneray.service.jobs import Job, Jobs
from boneray.service.uploads import limited, read_upload
from boneray.service.worker import COMMAND, Worker

PAGES = Path(__file__).parent / "pages"
RETRY_S = 5
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "X-Purpose": RESEARCH_USE,
}
# the page is one file: nothing of it comes from elsewhere, and nothing goes out
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; connect-src 'self' data: blob:; worker-src blob: data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
UPLOAD_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["ap", "lat"],
                    "properties": {
                        "ap": {"type": "string", "format": "binary", "description": "frontal film"},
                        "lat": {"type": "string", "format": "binary", "description": "lateral film"},
                        "camera": {"type": "string", "format": "binary", "description": "cameras.json"},
                        "checkpoint": {"type": "string"},
                        "bone": {"type": "string", "description": "femur_left, L3 ..."},
                        "sdd_mm": {"type": "number"},
                        "sod_mm": {"type": "number"},
                        "pixel_mm": {"type": "number"},
                        "values": {"type": "string", "enum": ["auto", "bright", "dark", "counts"]},
                        "anyway": {"type": "boolean", "description": "answer even where a check refuses"},
                    },
                }
            }
        },
    }
}


@dataclass(frozen=True)
class ServiceSettings:
    """How the service is run.

    Attributes:
        folder: where jobs lie.
        checkpoints: names that may be asked for; those that come with boneray if empty.
        most_waiting: jobs that wait or run, uploads included.
        most_bytes: of one upload.
        limit_s: of one job.
        keep_s: how long a result is kept.
        hosts: names by which the service may be called; "*" for any.
        command: the process that does the work.
    """

    folder: Path
    checkpoints: tuple[str, ...] = ()
    most_waiting: int = 8
    most_bytes: int = 64_000_000
    limit_s: float = 120.0
    keep_s: float = 3600.0
    hosts: tuple[str, ...] = LOOPBACK
    command: tuple[str, ...] = field(default=COMMAND)


def create_app(settings: ServiceSettings) -> FastAPI:
    """The service as an ASGI application; its worker lives as long as the application.

    Raises:
        ConfigError: a checkpoint that does not exist.
    """
    checkpoints = settings.checkpoints or tuple(
        sorted(packaged_checkpoints(), key=lambda name: (name.startswith("mean_shape"), name))
    )
    for name in checkpoints:
        find_checkpoint(name)
    if not checkpoints:
        raise ConfigError("there is no checkpoint to serve; give one with --checkpoint")
    jobs = Jobs(settings.folder, most_waiting=settings.most_waiting, keep_s=settings.keep_s)
    worker = Worker(jobs, limit_s=settings.limit_s, command=settings.command)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        worker.stop()

    app = FastAPI(
        title="boneray",
        version=__version__,
        description=f"Two radiographs in, labelled 3D bones out. {RESEARCH_USE}",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
    )
    app.state.jobs = jobs
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts))

    @app.middleware("http")
    async def guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        origin = request.headers.get("origin", "")
        if request.method not in ("GET", "HEAD") and origin:
            if urlsplit(origin).netloc != request.headers.get("host", ""):
                return JSONResponse({"detail": "requests from other sites are refused"}, 403, HEADERS)
        response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def the_job(job_id: str) -> Job:
        job = jobs.get(job_id)
        if job is None:
            raise HTTPException(404, "there is no such job, or it has expired")
        return job

    def the_result(job_id: str) -> Job:
        job = the_job(job_id)
        if job.state == "failed":
            raise HTTPException(409, f"this job failed: {job.reason}")
        if job.state != "done":
            raise HTTPException(409, "this job is not done yet")
        return job

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def form() -> HTMLResponse:
        page = (PAGES / "upload.html").read_text("utf-8")
        options = "".join(f"<option>{name}</option>" for name in checkpoints)
        page = page.replace("{{checkpoints}}", options).replace("{{purpose}}", RESEARCH_USE)
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY})

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Whether the service is well, and how much there is to do."""
        return {
            "status": "ok",
            "version": __version__,
            "purpose": RESEARCH_USE,
            "jobs": jobs.count(),
            "most_waiting": settings.most_waiting,
        }

    @app.get("/checkpoints")
    def known() -> dict[str, Any]:
        """What can be asked for."""
        rows = []
        for name in checkpoints:
            card = read_card(name)
            row = {"name": name, "anatomy": card.anatomy, "views": list(card.views), "licence": card.data_licence}
            demonstration = is_demonstration(find_checkpoint(name))
            rows.append({**row, "demonstration": demonstration, "note": DEMONSTRATION if demonstration else ""})
        return {"purpose": RESEARCH_USE, "checkpoints": rows}

    @app.post("/jobs", status_code=202, openapi_extra=UPLOAD_SCHEMA)
    async def submit(request: Request) -> JSONResponse:
        """Two films or more: 202 with the job, or 429 with Retry-After where too many wait."""
        if not jobs.reserve():
            async for _ in limited(request, settings.most_bytes):
                pass  # the sender listens only when it has sent all
            raise HTTPException(
                429, "too many jobs wait; try again in a few seconds", headers={"Retry-After": str(RETRY_S)}
            )
        try:
            upload = await read_upload(request, checkpoints, settings.most_bytes)
            job = jobs.accept(upload.asked, upload.files)
        except BaseException:
            jobs.release()
            raise
        return JSONResponse(shown_job(job, jobs), 202, {"Location": f"/jobs/{job.job_id}"})

    @app.get("/jobs/{job_id}")
    def progress(job_id: str) -> dict[str, Any]:
        """State and stage of a job."""
        return shown_job(the_job(job_id), jobs)

    @app.delete("/jobs/{job_id}")
    def forget(job_id: str) -> dict[str, Any]:
        """Remove a job and its files."""
        the_job(job_id)
        if not jobs.remove(job_id):
            raise HTTPException(409, "this job is running; remove it when it has ended")
        return {"job": job_id, "state": "removed"}

    @app.get("/jobs/{job_id}/result")
    def result(job_id: str) -> dict[str, Any]:
        """run.json and the measurements of a job, and the names of its files."""
        the_result(job_id)
        folder = jobs.folder(job_id) / "result"
        return {
            "purpose": RESEARCH_USE,
            "run": read_json(folder / "run.json", "run description"),
            "measurements": read_json(folder / "measurements.json", "measurements")["measurements"],
            "files": list(jobs.results(job_id)),
        }

    @app.get("/jobs/{job_id}/files/{name:path}")
    def file(job_id: str, name: str) -> FileResponse:
        """One file of a result, by a name of the list in /result."""
        the_result(job_id)
        found = jobs.results(job_id).get(name)
        if found is None:
            raise HTTPException(404, "this result has no such file")
        return FileResponse(found, filename=found.name, content_disposition_type="attachment")

    @app.get("/jobs/{job_id}/view", response_class=HTMLResponse)
    def view(job_id: str) -> FileResponse:
        """The report of a job with its 3D viewer."""
        the_result(job_id)
        page = jobs.folder(job_id) / "result" / "report.html"
        return FileResponse(page, media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})

    return app


def shown_job(job: Job, jobs: Jobs) -> dict[str, Any]:
    """What is told of a job."""
    links = {"self": f"/jobs/{job.job_id}"}
    if job.state == "done":
        links |= {"result": f"/jobs/{job.job_id}/result", "view": f"/jobs/{job.job_id}/view"}
    return {
        "job": job.job_id,
        "state": job.state,
        "stage": job.stage,
        "before": jobs.place(job.job_id) if job.state == "queued" else 0,
        "reason": job.reason,
        "warnings": list(job.warnings),
        "links": links,
        "purpose": RESEARCH_USE,
    }
