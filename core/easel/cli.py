"""The command `easel`. Every command imports what it needs when it runs, so that `--help` answers at once."""

# ruff: noqa: T201 -- a command line prints

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from easel import __version__
from easel.errors import BadRequest, EaselError, SettingsError

if TYPE_CHECKING:
    from easel.api.sdapi_models import Body

_FLAGS = "flags of `easel serve` (--data-dir, --ckpt-dir, --no-half …) may follow; see `easel serve --help`"

_DEPLOYING = {
    "validate": "check a service.json: everything that is wrong with it",
    "deploy": "start the service of a service.json and keep it running",
    "list": "the deployed services",
    "status": "what has become of a deployed service",
    "logs": "what a deployed service said",
    "stop": "stop a deployed service gently",
    "restart": "stop and start a deployed service: it finds new models",
    "scale": "how many instances of a deployed service run: 0 or 1",
    "delete": "stop a deployed service, remove what it kept outside of its storage",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 (failed) or 2 (wrong usage)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    own = {
        "serve": _serve,
        "bench": _bench,
        "submit": _submit,
        "watch": _watch,
        "users": _users,
        "prove-isolation": _prove_isolation,
        "simulate": _simulate,
    }  # with parsers of their own
    if words and words[0] in own:
        return _guarded(own[words[0]], argparse.Namespace(), words[1:])
    if words and (words[0] in _DEPLOYING or (words[0] == "info" and "--endpoints" in words)):
        return _guarded(_deploying, argparse.Namespace(verb=words[0]), words[1:])
    options, rest = _parser().parse_known_args(words)
    return _guarded(options.run, options, rest)


def _guarded(command: object, options: argparse.Namespace, rest: list[str]) -> int:
    assert callable(command)
    try:
        return int(command(options, rest) or 0)
    except EaselError as error:
        print(f"easel: {error.message}", file=sys.stderr)
        return 2 if error.status < 500 or isinstance(error, SettingsError) else 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="easel", description="A self-hosted Stable Diffusion service.", epilog=_FLAGS)
    parser.add_argument("--version", action="version", version=f"easel {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, epilog=_FLAGS, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    add("serve", _serve, "run the service (what ./webui.sh starts)")
    _picture_options(add("txt2img", _txt2img, "make a picture from a text"))
    img2img = add("img2img", _img2img, "make a picture from a text and a picture")
    _picture_options(img2img)
    img2img.add_argument("-i", "--init", type=Path, required=True, metavar="FILE", help="the picture to start from")
    img2img.add_argument("--mask", type=Path, metavar="FILE", help="white: repaint")
    img2img.add_argument("--strength", type=float, metavar="0…1", dest="denoising_strength", help="how much may change")
    explain = add("explain", _explain, "tell what a request would do, without making a picture")
    _picture_options(explain)
    explain.add_argument("-i", "--init", type=Path, metavar="FILE", help="the picture to start from (img2img)")
    explain.add_argument("--mask", type=Path, metavar="FILE", help="white: repaint")
    explain.add_argument("--strength", type=float, metavar="0…1", dest="denoising_strength", help="how much may change")
    explain.add_argument("--json", action="store_true", help="everything, as POST /easel/v1/explain answers")
    verify = add("verify", _verify, "make a picture again from its receipt and compare")
    verify.add_argument("picture", type=Path, metavar="PICTURE", help="a PNG with a receipt")
    verify.add_argument(
        "-i", "--init", type=Path, action="append", default=[], metavar="FILE",
        help="a picture that it was made from: start, mask, a script's; may be named several times",
    )  # fmt: skip
    verify.add_argument("--tolerance", type=int, default=0, metavar="N", help="grey levels that pixels may differ [0]")
    verify.add_argument("--json", action="store_true", help="everything, for programs")
    add("models", _models, "list checkpoints, VAEs, LoRAs and embeddings")
    add("extensions", _extensions, "list extensions and what became of them")
    new = add("new-extension", _new_extension, "make the folder of an extension that works")
    new.add_argument("name", metavar="NAME", help="lower-case words joined by '-'")
    new.add_argument("--into", type=Path, default=Path(), metavar="DIR", help="where [here]")
    check = add("check", _check, "check the folder of an extension; runs its code")
    check.add_argument("folder", type=Path, metavar="FOLDER")
    install = add("install", _install, "put an extension into the data folder; runs nothing of it")
    install.add_argument("source", type=Path, metavar="FOLDER|ZIP|WHEEL")
    install.add_argument("--replace", action="store_true", help="in place of the one that is there")
    convert = add("convert", _convert, "rewrite pickled weights (.ckpt, .pt, .pth, .bin) as safetensors")
    convert.add_argument("file", type=Path)
    convert.add_argument("-o", "--output", type=Path, metavar="FILE")
    add("submit", _submit, "store a task in the queue of a service")
    add("watch", _watch, "show the results in the queue of a service")
    add("users", _users, "add, list and limit the users of the cluster edition; `easel users --help` says how")
    add("prove-isolation", _prove_isolation, "walk every route of a service as two users; fail on any crossing")
    add("simulate", _simulate, "waiting times, cold starts and cost of a fleet, for so many jobs a day")
    add("bench", _bench, "measure this machine against plain diffusers")
    for verb, text in _DEPLOYING.items():
        add(verb, _deploying, text)
    doctor = add("doctor", _doctor, "check this installation")
    doctor.add_argument("--json", action="store_true", help="for programs")
    add("info", _info, "addresses, folders and version; with --endpoints [NAME] of a deployed service")
    return parser


def _picture_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("prompt")
    command.add_argument("-o", "--output", type=Path, default=Path("easel.png"), metavar="FILE", help="[easel.png]")
    command.add_argument("-n", "--negative", dest="negative_prompt", metavar="TEXT", help="what must not be there")
    command.add_argument("--model", metavar="NAME", help="checkpoint by title, name or hash")
    command.add_argument("--sampler", dest="sampler_name", metavar="NAME")
    command.add_argument("--scheduler", metavar="NAME")
    command.add_argument("--count", dest="batch_size", type=int, metavar="N", help="pictures at once")
    command.add_argument("--cfg", dest="cfg_scale", type=float, metavar="SCALE")
    for name in ("seed", "steps", "width", "height"):
        command.add_argument(f"--{name}", type=int, metavar="N")


def _serve(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.settings import flags_help, read_settings

    if {"-h", "--help"} & set(rest):
        print("usage: easel serve [flags]\n\n" + flags_help())
        return 0
    settings = read_settings(rest, os.environ)
    from easel.serve import serve

    if settings.ray:
        from easel.deploy.ray_workforce import RayWorkforce, connect

        connect(settings.ray)  # what is wrong with it is told before anything is started
        return serve(settings, workforce=RayWorkforce)
    return serve(settings)


def _txt2img(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.api.sdapi_models import Txt2ImgBody

    return _pictures(Txt2ImgBody, _fields(options), options.output, rest)


def _img2img(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.api.sdapi_models import Img2ImgBody

    return _pictures(Img2ImgBody, _img2img_fields(options), options.output, rest)


def _img2img_fields(options: argparse.Namespace) -> dict[str, object]:
    fields = _fields(options) | {"init_images": [_base64(options.init)]}
    if options.denoising_strength is not None:
        fields["denoising_strength"] = options.denoising_strength
    if options.mask is not None:
        fields["mask"] = _base64(options.mask)
    return fields


def _explain(options: argparse.Namespace, rest: list[str]) -> int:
    import json

    from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
    from easel.one_shot import explain, in_words
    from easel.settings import read_settings

    if options.init is None:
        body = _body(Txt2ImgBody, _fields(options))
    else:
        body = _body(Img2ImgBody, _img2img_fields(options))
    explained = explain(read_settings(["--in-process", *rest], os.environ), body)
    print(json.dumps(explained, indent=1, ensure_ascii=False) if options.json else "\n".join(in_words(explained)))
    return 0


def _verify(options: argparse.Namespace, rest: list[str]) -> int:
    """Exit status: 0 the same picture (or within the tolerance), 1 another one, 2 it cannot be made again here."""
    import json

    from easel.settings import read_settings
    from easel.verify import in_words, verify

    pictures = [_bytes(file) for file in options.init]
    settings = read_settings(["--in-process", *rest], os.environ)
    found = verify(settings, _bytes(options.picture), pictures, options.tolerance)
    print(json.dumps(found.told(), indent=1, ensure_ascii=False) if options.json else "\n".join(in_words(found)))
    return found.status


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}") from error


def _fields(options: argparse.Namespace) -> dict[str, object]:
    """The body of the request that an API client would send for these options."""
    names = ("prompt", "negative_prompt", "sampler_name", "scheduler", "batch_size", "cfg_scale")
    fields = {name: getattr(options, name) for name in (*names, "seed", "steps", "width", "height")}
    suffix = options.output.suffix.lower().removeprefix(".")
    overrides = {"samples_format": suffix} if suffix in ("png", "jpg", "jpeg", "webp") else {}
    if options.model:
        overrides["sd_model_checkpoint"] = options.model
    return fields | {"override_settings": overrides}


def _base64(file: Path) -> str:
    import base64

    try:
        return base64.b64encode(file.read_bytes()).decode("ascii")
    except OSError as error:
        raise EaselError(f"{file} cannot be read: {error.strerror}") from error


def _body(kind: type[Body], fields: dict[str, object]) -> Body:
    from pydantic import ValidationError

    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequest(first["msg"], field=str(first["loc"][0]), value=first["input"]) from error


def _pictures(kind: type[Body], fields: dict[str, object], output: Path, rest: list[str]) -> int:
    from easel.one_shot import make_pictures
    from easel.settings import read_settings

    body = _body(kind, fields)
    for file in make_pictures(read_settings(["--in-process", *rest], os.environ), body, output):
        print(file)
    return 0


def _models(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.app import Easel
    from easel.settings import read_settings

    store = Easel(read_settings(rest, os.environ)).store
    for info in store.checkpoints():
        print(f"checkpoint  {info.title}  {info.refused_reason or info.family}")
    for kind in ("vae", "lora", "hypernetwork", "embedding"):
        for file in store.files(kind):
            print(f"{kind:<10}  {file.filename}  {file.refused_reason or ''}".rstrip())
    return 0


def _extensions(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.app import Easel
    from easel.settings import read_settings

    registry = Easel(read_settings(rest, os.environ)).extensions
    registry.load()
    for status in registry.list():
        reason = f": {status.reason}" if status.reason else ""
        print(f"{status.name}  {status.version}  {status.state}{reason}  {status.title}")
    return 0


def _new_extension(options: argparse.Namespace, rest: list[str]) -> int:
    _no_more(rest)
    from easel.testing.skeleton import new_extension

    folder = new_extension(options.name, options.into)
    print(f"made {folder}; next:\n  easel check {folder}\n  pytest {folder}")
    print("a service finds it in the folder extensions/ of its data folder, and in those of EASEL_EXTENSIONS_PATH")
    return 0


def _install(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.extensions.install import install
    from easel.extensions.requirements import Unavailable, check_requirements
    from easel.settings import read_settings

    if not options.source.exists():
        raise BadRequest("there is no such file", field="SOURCE", value=str(options.source))
    root = read_settings(rest, os.environ).data_dir / "extensions"
    manifest, folder = install(options.source, root, replace=options.replace)
    print(f"{manifest.title} {manifest.version}: {manifest.summary}\nnow in {folder}")
    for kind in ("hosts", "paths", "changes"):
        print(f"{kind:<8} {', '.join(getattr(manifest.permissions, kind) or ()) or '(nothing declared)'}")
    try:
        check_requirements(manifest)
    except Unavailable as error:
        print(f"cannot run yet: it {error.message}")
    print("a running service finds it with POST /easel/v1/extensions/rescan, others when they start")
    return 0


def _check(options: argparse.Namespace, rest: list[str]) -> int:
    _no_more(rest)
    from easel.testing.checks import ASPECTS, check

    problems = check(options.folder)
    for problem in problems:
        print(f"problem  {problem}")
    print(f"{options.folder.resolve().name}: " + (f"{len(problems)} to put right" if problems else "fine"))
    print(f"looked at: {ASPECTS}")
    return int(bool(problems))


def _convert(options: argparse.Namespace, rest: list[str]) -> int:
    _no_more(rest)
    import subprocess

    target = options.output or options.file.with_suffix(".safetensors")
    # A process of its own: it gives up its network before it opens the file.
    return subprocess.run([sys.executable, "-m", "easel.models.convert", options.file, target], check=False).returncode


def _bench(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.bench.suite import main as bench

    return bench(rest)


def _simulate(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.deploy.simulate import main as simulate

    return simulate(rest)


def _submit(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.remote import submit

    return submit(rest)


def _watch(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.remote import watch

    return watch(rest)


def _users(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.users.commands import run

    return run(rest)


def _prove_isolation(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.testing.isolation.prove import run

    return run(rest)


def _deploying(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.deploy.commands import run

    return run(options.verb, rest, _DEPLOYING.get(options.verb))


def _doctor(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.deploy.doctor import examine
    from easel.settings import read_settings

    findings = examine(read_settings(rest, os.environ))
    if options.json:
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(finding) for finding in findings], indent=1, ensure_ascii=False))
    else:
        print("\n".join(map(str, findings)))
    return int(any(finding.verdict == "broken" for finding in findings))


def _info(options: argparse.Namespace, rest: list[str]) -> int:
    from easel.settings import read_settings

    settings = read_settings(rest, os.environ)
    scheme = "https" if settings.tls_certfile else "http"
    base = f"{scheme}://{settings.host}:{settings.bind_port}/{(settings.subpath or '').strip('/')}".rstrip("/")
    print(f"easel {__version__}, edition {settings.edition}")
    print(f"page    {base}/" if not settings.nowebui else "page    off (--nowebui)")
    print(f"API     {base}/sdapi/v1, described at {base}/docs" if settings.api else "API     off (--no-api)")
    if (settings.state_dir / "token").is_file() and not settings.token:
        print(f"token   {(settings.state_dir / 'token').read_text('ascii').strip()}")
    print(f"data    {settings.data_dir}\nmodels  {settings.models_path}\nstate   {settings.state_dir}")
    return 0


def _no_more(rest: list[str]) -> None:
    if rest:
        raise EaselError(f"unexpected {rest[0]!r}")
