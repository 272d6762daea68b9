"""Easel: the only module that knows all the parts. `Easel(settings)` puts a gateway together; nothing is global."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from easel import __version__
from easel.errors import Forbidden, NotAvailable
from easel.extensions.registry import Limit, Registry
from easel.extensions.status import ExtensionStatus, State
from easel.files import ScopedFiles
from easel.imaging.faces import FaceRestorer
from easel.imaging.upscale import Upscaler, all_upscalers
from easel.jobs.jobs import Jobs
from easel.jobs.places import Crew, Worker
from easel.models.store import CheckpointInfo, ModelStore
from easel.options import OptionsStore
from easel.settings import Settings
from easel.streams.ledger import Ledger
from easel.streams.service import DATABASE, QueueService, open_store
from easel.users.account import check_name
from easel.users.accounts import Accounts
from easel.users.homes import Homes, data_files
from easel.users.quotas import Quotas
from easel.values.job import Job
from easel.values.ledger import Line, Shift
from easel.values.request import GenerationRequest, TaskCall
from easel.values.result import Result
from easel.values.user import User, acting_as, acting_user
from easel.worker.pool import Pool, Workforce
from easel.worker.supervisor import PROGRAM, InProcessWorker
from easel.worker.workplace import (
    Workplace,
    build_workplace,
    extension_registry,
    fetcher,
    journal,
)

log = logging.getLogger("easel")


class Easel:
    """One service: settings, models on disk, options, extensions, jobs and the workers that run them.

    `build` makes the workplace of an in-process worker; the default has the real engine, tests give one with
    `easel.engine.fake_engine.FakeEngine`. `worker` is the program that is started as a worker process;
    `workforce` makes who has workers elsewhere, called as `Pool` is: `(jobs, settings, extensions, program=…)`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        build: Callable[[Settings], Workplace] = build_workplace,
        worker: Sequence[str] = PROGRAM,
        workforce: Callable[..., Workforce] | None = None,
    ) -> None:
        self.version = __version__
        self.homes = Homes(settings)
        self.store: ModelStore = self.homes.store()
        self.fetcher = fetcher(settings)
        self.service_options = OptionsStore(settings.state_dir)
        self.accounts = Accounts(settings.state_dir) if settings.edition == "cluster" else None
        self._options: dict[str, OptionsStore] = {}  # of users
        self.extensions: Registry = extension_registry(settings)
        self.extensions.left_out = self.left_out
        self.ledger = Ledger(settings.state_dir / DATABASE)
        self.jobs = Jobs(
            max_in_flight=1 if workforce else settings.max_jobs_in_flight,
            left_to_others=1 if settings.edition == "cluster" else 0,
            max_delivery=settings.max_delivery,
            deadline=math.inf if workforce else settings.job_deadline,  # workers elsewhere look after theirs
            phase_deadline=math.inf if workforce else settings.phase_deadline,
            warm_kept=settings.warm_checkpoints,
            service=settings.service_name,
            enter=self._enter_jobs if workforce else self.ledger.enter,
            admit=self._admit,
            job_changed=lambda job: self.extensions.select(job.request.extensions).job_changed(job),
        )
        self._quotas: Quotas | None = None
        if self.accounts is not None:
            self._quotas = Quotas(self.accounts, self._folders, lambda name: len(self.jobs.waiting(name)))
        self.queue: QueueService | None = None
        if settings.edition == "api":
            files = data_files(settings)
            store = open_store(settings)
            self.queue = QueueService(
                settings, store, journal=journal(settings), files=files, ledger=self.ledger, workers=self._working
            )
        self._build, self._program, self._elsewhere = build, worker, workforce
        self._crew: Crew | None = None
        self.pool: Workforce | None = None  # None: --in-process

    @property
    def service(self) -> Settings:
        """The settings as they were given."""
        return self.homes.service

    @property
    def settings(self) -> Settings:
        """The settings as the acting user has them: of users, each has a data folder of their own."""
        return self.homes.settings

    @property
    def options(self) -> OptionsStore:
        """The options of the acting user, which stand on those of the service."""
        name = acting_user().name
        if not name or self.accounts is None:
            return self.service_options
        if name not in self._options:
            folder = self.service.state_dir / "users" / check_name(name)
            self._options[name] = OptionsStore(folder, self.service_options)
        return self._options[name]

    def start(self) -> None:
        """Make the data folder's tree, load the extensions, start workers. Errors: SettingsError."""
        self.store.make_tree()
        self.extensions.limit = self.limit
        self.extensions.load()
        self.extensions.start(self)
        if self.service.in_process:
            worker = InProcessWorker(self.jobs, lambda: self._build(self.service), self.extensions)
            self._crew = worker
            self.jobs.attach(worker)
            self.jobs.ready(worker)
        else:
            self._crew = self.pool = pool = self._workforce()
            self.jobs.attach(pool)
            pool.start(self.extensions.stamps())
        self.extensions.changed = self._tell_workers
        self._tell_workers()

    def stop(self) -> None:
        """Cancel what runs, stop the workers and the extensions."""
        self.jobs.close()
        self.ledger.close()
        self.extensions.stop()
        if self.accounts is not None:
            self.accounts.close()

    async def run_task(self, extension: str, task: str, arguments: Mapping[str, Any], *, user: str = "") -> Result:
        """Run a task of an extension (of the core: "") in a worker and wait; a caller that gives up cancels it.

        Errors: NotFound (no such task is switched on), BadRequest (arguments), JobRefused, and its failure.
        """
        called = TaskCall(extension, task, arguments)
        if extension:  # the core's own tasks (`pipeline.upkeep`) are known to workers alone
            self.extensions.hooks.task(called).parse(arguments)
        request = GenerationRequest(kind="task", task=called, options=self.options.resolve({}))
        return await self.run(request, user=user)

    async def run_everywhere(self, task: str) -> list[Result]:
        """Run a task of the core in every worker there is, past the line.

        Errors: JobRefused, NotAvailable (workers elsewhere cannot be told apart), a failure of one.
        """
        if self._elsewhere is not None:
            raise NotAvailable("workers on a cluster are chosen by the cluster: none of them can be addressed")
        request = GenerationRequest(kind="task", task=TaskCall("", task, {}), options=self.options.resolve({}))
        return await asyncio.gather(*(self.run(request, to=worker) for worker in self.jobs.workers()))

    async def run(self, request: GenerationRequest, *, user: str = "", to: Worker | None = None) -> Result:
        """Run a request in a worker (`to`: in this one, at once) and wait; a caller that gives up cancels it.

        Errors: JobRefused, its failure.
        """
        job = await asyncio.to_thread(self.jobs.submit, request, user=user or acting_user().name, to=to)
        try:
            return await self.jobs.wait(job)
        except asyncio.CancelledError:
            self.jobs.signal("cancel", job)
            raise

    def _workforce(self) -> Workforce:
        if self._elsewhere is not None:
            return self._elsewhere(self.jobs, self.service, self.extensions, program=self._program)
        backlog = self.queue.backlog if self.queue is not None else lambda: 0
        return Pool(self.jobs, self.service, self.extensions, program=self._program, backlog=backlog)

    def enter_shifts(self) -> None:
        """Have the time of the workers until now in the ledger; that of workers elsewhere is not known here."""
        if self._elsewhere is None:
            self.ledger.enter(*self.jobs.shifts())

    def _enter_jobs(self, *entries: Line | Shift, patience: float) -> None:
        """Lines of jobs alone: what looks like a worker here is a call of workers elsewhere, whose time is not ours."""
        self.ledger.enter(*(one for one in entries if isinstance(one, Line)), patience=patience)

    def _admit(self, job: Job) -> None:
        self.extensions.refuse_without_required()
        if self.accounts is not None:
            with acting_as(User(job.user)):
                chosen = self.extensions.selection()
            job.request = replace(job.request, extensions=None if chosen is None else tuple(sorted(chosen)))
        hooks = self.extensions.select(job.request.extensions)
        job.scripts = hooks.scripts.bind(job.request)
        hooks.admit_job(job)
        if self._quotas is not None:
            self._quotas.admit(job)

    def switch_extension(self, name: str, on: bool) -> ExtensionStatus:
        """Switch an extension on or off here and in the workers; running jobs keep the set they began with.

        An operator does so for everybody, a user for themselves among those that are on. Errors: UnknownName,
        Forbidden (required; not on; with --root-extensions everybody has the same).
        """
        user = acting_user()
        if self.accounts is None or user.admin or not user.name:
            return self.extensions.enable(name) if on else self.extensions.disable(name)
        left_out = self.left_out()
        self.leave_out(left_out - {name} if on else left_out | {name})
        status = self.extensions.status(name)
        if on and status.state is not State.ENABLED:
            raise Forbidden(f"extension {name!r} is {status.state}: only an operator can change that")
        return status

    def leave_out(self, names: frozenset[str]) -> None:
        """Have the acting user do without these. Errors: UnknownName, Forbidden (required, --root-extensions)."""
        assert self.accounts is not None
        if self.extensions.common:
            raise Forbidden("the extensions of this service are the same for everybody (--root-extensions)")
        self.extensions.may_disable(names)
        self.accounts.leave_out(acting_user().name, names)

    def left_out(self) -> frozenset[str]:
        """The extensions that the acting user does without."""
        name = acting_user().name
        account = self.accounts.find(name) if self.accounts is not None and name else None
        return account.left_out if account else frozenset()

    @property
    def limit(self) -> Limit:
        """Whose extensions are switched off: by a flag, else by the option `disable_all_extensions`."""
        if self.service.disable_all_extensions:
            return "all"
        chosen: Limit = self.service_options.get("disable_all_extensions")
        return "extra" if self.service.disable_extra_extensions and chosen == "none" else chosen

    def _tell_workers(self) -> None:
        if self._crew is not None:
            self._crew.follow(self.extensions.stamps())

    def _working(self) -> int:
        """Workers that take tasks now; one that will be started for a task counts."""
        return max(1, len(self.jobs.workers()))

    def _folders(self, name: str) -> tuple[Path, Path]:
        return self.homes.settings_of(name).data_dir, self.page_files / name

    @property
    def page_files(self) -> Path:
        """Where files are that people gave to the page; with users, each one's below their name."""
        return self.service.state_dir / "page"

    def room(self, coming: int) -> None:
        """Count bytes that the acting user's files grow by. Errors: DiskFull, when that is beyond their limit."""
        if self._quotas is not None:
            self._quotas.room(acting_user().name, coming)

    def files_for(self, user: User) -> ScopedFiles:
        """The files that this user may see and change: the data folder without what is not theirs."""
        settings = self.homes.settings_of(user.name)
        return (
            data_files(settings)
            if self._quotas is None
            else data_files(settings, partial(self._quotas.room, user.name))
        )

    def chosen_checkpoint(self) -> CheckpointInfo:
        """The checkpoint that the options name, or the first there is."""
        chosen = self.options.get("sd_model_checkpoint")
        found = next((one for one in self.store.checkpoints() if one.filename == chosen), None)
        return found or self.store.default_checkpoint()

    @property
    def face_restorers(self) -> tuple[FaceRestorer, ...]:
        """Who could restore faces, by name; those that lack something too."""
        registered = (owned.value for owned in self.extensions.hooks.face_restorers)
        return tuple(sorted(registered, key=lambda one: one.name))

    @property
    def upscalers(self) -> tuple[Upscaler, ...]:
        """What there is to enlarge pictures with."""
        return all_upscalers(owned.value for owned in self.extensions.hooks.upscalers)

    def refresh_models(self) -> None:
        """Look at the model folders again, here and in the workers."""
        self.store.refresh()
        if not (self.accounts is not None and acting_user().name):  # a user's models are no extension's business
            self.extensions.refresh()
        if self._crew is not None:
            self._crew.refresh()
