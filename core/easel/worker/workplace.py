"""Everything a worker works with, put together: model store, engine, extensions, road."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from easel.egress import EgressLog, guard
from easel.engine.engine import Engine
from easel.extensions.finder import installed_roots, standard_roots
from easel.extensions.quarantine import Quarantine
from easel.extensions.registry import Registry
from easel.fetching import Fetcher
from easel.imaging.faces import FaceRestorer
from easel.imaging.upscale import Upscaler, all_upscalers
from easel.models.store import ModelStore
from easel.outputs.journal import Journal
from easel.outputs.saver import OutputSaver
from easel.pipeline.pictures import Pictures
from easel.pipeline.road import Road
from easel.pipeline.upkeep import Upkeep
from easel.settings import Settings
from easel.users.homes import Homes
from easel.values.user import acting_user

# What keeps libraries from asking hubs and from reporting home: a service answers to its operator alone.
_QUIET = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY", "DO_NOT_TRACK")


@dataclass(frozen=True, slots=True)
class Workplace:
    """What extensions get as `app` in a worker: `settings`, `store`, `upscalers`, `face_restorers`, `fetcher`.

    Of users, each has settings and models of their own: those of the job that is being worked on.
    """

    homes: Homes
    store: ModelStore
    engine: Engine
    extensions: Registry
    road: Road

    @property
    def settings(self) -> Settings:
        """As the user of the present job has them."""
        return self.homes.settings

    @property
    def face_restorers(self) -> tuple[FaceRestorer, ...]:
        """Who could restore faces, by name; those that lack something too."""
        registered = (owned.value for owned in self.extensions.hooks.face_restorers)
        return tuple(sorted(registered, key=lambda one: one.name))

    @property
    def upscalers(self) -> tuple[Upscaler, ...]:
        """What there is to enlarge pictures with."""
        return all_upscalers(owned.value for owned in self.extensions.hooks.upscalers)

    @property
    def fetcher(self) -> Fetcher:
        """How to get what a URL in a request names."""
        return fetcher(self.homes.service)

    def refresh(self) -> None:
        """Look at the model folders again."""
        self.store.refresh()
        if not (self.homes.apart and acting_user().name):  # a user's models are no extension's business
            self.extensions.refresh()

    def close(self) -> None:
        """Stop the engine and the extensions."""
        self.engine.close()
        self.extensions.stop()


def model_store(settings: Settings) -> ModelStore:
    """The model store that the settings describe."""
    return Homes(settings).store()


def fetcher(settings: Settings) -> Fetcher:
    """The way out that the settings allow to URLs in requests."""
    return Fetcher(
        allow=settings.fetch_allow,
        max_bytes=settings.max_body_mb << 20,
        timeout=settings.fetch_timeout,
        offline=settings.offline,
        attempts=EgressLog(settings.state_dir),
    )


def guard_egress(settings: Settings) -> None:
    """From now on everything that this process tries to reach is noted, and with `--offline` refused."""

    def place(extension: str) -> str:
        if not extension:
            return f"models belong below {settings.models_path}"
        name = extension.replace("_", "-")
        return f"put the file where the extension's README says, or to {settings.state_dir / 'extensions' / name}"

    expected = (*settings.fetch_allow, *filter(None, (urlsplit(settings.queue_url).hostname, settings.server_name)))
    guard(EgressLog(settings.state_dir), offline=settings.offline, expected=expected, place=place)


def extension_registry(settings: Settings) -> Registry:
    """The extensions that the settings allow, not loaded yet."""
    named = settings.root_extensions if isinstance(settings.root_extensions, str) else None
    roots = standard_roots(settings.data_dir, path=settings.extensions_path, root=named)
    return Registry(
        (*roots, *installed_roots()),
        settings.state_dir,
        required=("nsfw-censor",) if settings.enable_nsfw_censor else (),
        disabled=() if settings.filebrowser else ("filebrowser",),
        environment=os.environ,
        common=bool(settings.root_extensions),
        shared=Homes(settings).files,
        fetcher=fetcher(settings),
        quarantine=Quarantine(settings.quarantine_failures, settings.quarantine_losses),
        patience=settings.extension_patience,
    )


def journal(settings: Settings) -> Journal:
    """Where the pictures of unfinished tasks are noted."""
    return Journal(settings.state_dir / "unfinished")


def build_workplace(settings: Settings) -> Workplace:
    """The workplace of a real worker: the tick engine on the settings' device. Imports torch."""
    for name in _QUIET:
        os.environ.setdefault(name, "1")
    # Threads that spin while they wait take the cores from each other as soon as the machine has anything else to do
    # (up to 12x slower on two busy cores); read when torch is loaded, so before the imports.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from easel.engine.ticks import EngineOptions, TickEngine
    from easel.models.cache import ModelCache
    from easel.models.placement import choose_placement, free_memory

    placement = choose_placement(
        _device(settings),
        no_half=settings.no_half or settings.precision == "full",
        no_half_vae=settings.no_half_vae,
        compiled=settings.blade,
        xformers=settings.xformers,
    )
    cache = ModelCache(
        limits={} if settings.sd_dynamic_cache else {"checkpoint": 1},
        reserved=int(settings.min_ram_reserved * 2**30),
        free=free_memory(placement.device),
    )
    options = EngineOptions(max_jobs=settings.max_jobs_in_flight, reproducible=settings.reproducible)
    store = model_store(settings)
    return assemble(settings, store, TickEngine(store, cache, placement, options))


def _device(settings: Settings) -> str:
    if {"all", "sd"} & set(settings.use_cpu):
        return "cpu"
    return "auto" if settings.device_id is None else f"cuda:{settings.device_id}"


def assemble(settings: Settings, store: ModelStore, engine: Engine, extensions: Registry | None = None) -> Workplace:
    """Extensions (default: those that the settings allow) and road around an engine."""
    extensions, homes = extensions or extension_registry(settings), Homes(settings)
    extensions.load([Pictures(), Upkeep(), OutputSaver(homes.files, journal(settings))])
    workplace = Workplace(homes, store, engine, extensions, Road(engine, extensions.hold))
    extensions.start(workplace)
    return workplace
