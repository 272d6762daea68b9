"""Running the service until somebody stops it: logging, the ASGI server, its flags."""

from __future__ import annotations

import asyncio
import logging
import socket
import webbrowser
from collections.abc import Callable, Sequence

import uvicorn

from easel.api.links import Link
from easel.api.server import create_api
from easel.app import Easel
from easel.errors import SettingsError
from easel.settings import Settings
from easel.ui import page_of
from easel.ui.mount import PageMount
from easel.worker.pool import Workforce
from easel.worker.supervisor import PROGRAM
from easel.worker.workplace import Workplace, build_workplace, guard_egress

log = logging.getLogger("easel")
_GRACE = 5  # seconds that running calls get to end by themselves …
_QUEUE_KEEP_ALIVE = 75
_ANSWER = 5  # … and then to be told that they do not


class GentleServer(uvicorn.Server):
    """An ASGI server that, when stopped, ends the jobs that take too long, so that their callers get an answer."""

    def __init__(self, config: uvicorn.Config, app: Easel, page: PageMount | None) -> None:
        super().__init__(config)
        self._easel, self._page = app, page

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the doors, wait for running calls, stop the application."""
        if self._page is not None:
            self._page.end_streams()
        ending = asyncio.create_task(self._end_jobs())
        await super().shutdown(sockets)
        ending.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the doors and, with `--autolaunch`, the page in a browser."""
        await super().startup(sockets)
        settings = self._easel.settings
        if self.started and settings.autolaunch:
            scheme, prefix = "https" if settings.tls_certfile else "http", (settings.subpath or "").strip("/")
            host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host
            port = self.servers[0].sockets[0].getsockname()[1]
            await asyncio.to_thread(webbrowser.open, f"{scheme}://{host}:{port}/{prefix}".rstrip("/") + "/")

    async def _end_jobs(self) -> None:
        await asyncio.sleep(_GRACE)
        await asyncio.to_thread(self._easel.jobs.close)


def serve(
    settings: Settings,
    *,
    build: Callable[[Settings], Workplace] = build_workplace,
    worker: Sequence[str] = PROGRAM,
    workforce: Callable[..., Workforce] | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM; the exit status. The others: as for `Easel`. Errors: SettingsError."""
    logging.basicConfig(level=settings.loglevel, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for remark in settings.remarks():
        log.warning(remark)
    guard_egress(settings)
    app = Easel(settings, build=build, worker=worker, workforce=workforce)
    try:
        app.store.make_tree()
    except OSError as error:
        raise SettingsError(f"the data folder {settings.data_dir} cannot be written: {error.strerror}") from error
    page = page_of(app) if settings.page else None
    server = GentleServer(
        uvicorn.Config(
            create_api(app, page.router() if page else None),
            host=settings.host,
            port=settings.bind_port,
            log_config=None,  # ours is set already
            access_log=False,  # --api-log writes its own
            server_header=False,
            timeout_keep_alive=_keep_alive(settings),
            ws=Link,
            ws_ping_interval=None,  # a client that works on an item answers no PING: see api/watch.py
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=_GRACE + _ANSWER,
            ssl_keyfile=settings.tls_keyfile,
            ssl_certfile=str(settings.tls_certfile) if settings.tls_certfile else None,
        ),
        app,
        page,
    )
    server.run()
    return 0 if server.started else 1


def _keep_alive(settings: Settings) -> int:
    """Seconds: the queue's clients keep connections, and lose the POST that meets one which is being closed."""
    if settings.edition == "api" and "timeout_keep_alive" not in settings.given:
        return max(_QUEUE_KEEP_ALIVE, settings.timeout_keep_alive)
    return settings.timeout_keep_alive
