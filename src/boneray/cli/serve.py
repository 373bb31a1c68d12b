"""The command that puts reconstruction behind HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boneray.cli.output import say


def add_commands(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(serve)


def serve(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Where jobs lie; kept over a restart.")] = Path("jobs"),
    host: Annotated[str, typer.Option(help="Address to listen at; others than this computer must be named.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8321,
    checkpoint: Annotated[
        list[str] | None, typer.Option(help="Checkpoint that may be asked for; repeatable. Default: the packaged ones.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Name by which the service is called, beside its address; repeatable.")
    ] = None,
    queue: Annotated[int, typer.Option(min=1, help="Jobs that may wait or run.")] = 8,
    most_mb: Annotated[float, typer.Option(min=0.1, help="Largest upload.")] = 64.0,
    limit_s: Annotated[float, typer.Option(min=1, help="Longest time of a job.")] = 120.0,
    keep_s: Annotated[float, typer.Option(min=1, help="How long results are kept.")] = 3600.0,
) -> None:
    """Serve reconstruction over HTTP: upload two radiographs, get a job, results and a viewer. Research use only.

    Example: boneray serve --out jobs --port 8321
    """
    from importlib.util import find_spec

    from boneray.core.errors import ConfigError
    from boneray.core.purpose import RESEARCH_USE

    missing = [name for name in ("fastapi", "uvicorn", "python_multipart") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"serving needs {missing[0]}; install it with: pip install 'boneray[serve]'")
    import uvicorn

    from boneray.service.app import LOOPBACK, ServiceSettings, create_app

    settings = ServiceSettings(
        folder,
        tuple(checkpoint or ()),
        most_waiting=queue,
        most_bytes=int(most_mb * 1e6),
        limit_s=limit_s,
        keep_s=keep_s,
        hosts=(*LOOPBACK, host, *(allow_host or ())),
    )
    app = create_app(settings)
    say(f"boneray at http://{host}:{port} ({RESEARCH_USE})")
    if host not in LOOPBACK:
        say("warning: this address is not of this computer alone; the service has no login and no encryption")
    uvicorn.run(app, host=host, port=port, access_log=False, log_level="warning", server_header=False)
