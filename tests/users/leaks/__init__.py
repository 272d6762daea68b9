"""Leaks that a programmer might make."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response, WebSocket

from easel import Extension, NotFound, Tab, hookimpl


class Leaks(Extension):
    """Each of its routes ignores the user in another way."""

    @hookimpl
    def register_routes(self, app: Any) -> APIRouter:
        router = APIRouter(prefix="/leaks")

        @router.get("/history")
        async def history() -> list[str]:
            return [job.request.prompt for job in app.jobs.all()]  # everybody's

        @router.post("/stop/{job_id}")
        async def stop(job_id: str) -> dict[str, str]:
            job = app.jobs.find(job_id)  # anybody's
            if job is None:
                raise NotFound
            app.jobs.signal("cancel", job)
            return {}

        @router.get("/file")
        async def file(path: str = "") -> Response:
            found = Path(app.service.data_dir) / path  # everybody's folder
            if not path or not found.is_file():
                raise NotFound
            return Response(found.read_bytes(), media_type="image/png")

        @router.get("/first")
        async def first() -> dict[str, str]:
            for job in app.jobs.all():
                if app.jobs.state(job).final and (images := getattr(app.jobs.outcome(job), "images", ())):
                    return {"image": base64.b64encode(images[0].data).decode()}  # whoever made it
            return {}

        @router.post("/styles")
        async def styles(name: str = "x") -> dict[str, str]:
            for file in Path(app.service.data_dir).glob("users/*/styles.csv"):
                file.write_text(f"name,prompt,negative_prompt\n{name},,\n")
            return {}

        @router.websocket("/live")
        async def live(socket: WebSocket) -> None:
            await socket.accept()
            for job in app.jobs.all():
                await socket.send_text(f"{job.id} {job.request.prompt}")
            await socket.close()

        return router

    @hookimpl
    def register_tabs(self, app: Any) -> Tab:
        def build(page: Any) -> None:
            import gradio as gr

            def told() -> str:
                return "\n".join(job.request.prompt for job in app.jobs.all())  # everybody's

            button, shown = gr.Button("Tell"), gr.Textbox()
            button.click(told, None, shown)

        return Tab("Leaks", build)
