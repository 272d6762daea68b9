"""A limit to the time that extensions may take to load, start and stop: a loop without an end is broken off."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from easel.errors import ExtensionError

_AGAIN = 1.0  # seconds after which code that swallowed the exception is told once more


class TookTooLong(Exception):
    """It took longer than --extension-patience allows."""

    def __str__(self) -> str:
        return (type(self).__doc__ or "").strip()


@contextmanager
def limited(extension: str, seconds: float) -> Iterator[None]:
    """Raise TookTooLong in this thread as long as the block runs, after `seconds`; 0: it may take any time.

    CPython raises it between two instructions of Python, so what waits inside a library is told when it returns.
    Errors: ExtensionError when the exception reaches the core.
    """
    if not seconds:
        yield
        return
    thread, done, lock = ctypes.c_ulong(threading.get_ident()), threading.Event(), threading.Lock()

    def watch() -> None:
        wait = seconds
        while not done.wait(wait):
            with lock:
                if not done.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TookTooLong))
            wait = _AGAIN

    def end() -> None:
        with lock:
            done.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)  # one that is still on its way

    watcher = threading.Thread(target=watch, name=f"easel-patience-{extension}", daemon=True)
    try:
        watcher.start()  # in here: on a busy machine the time may be over before it returns
        yield
    except TookTooLong as error:
        raise ExtensionError(extension, "load", str(error)) from error
    finally:
        while not done.is_set():
            with suppress(TookTooLong):  # at the last moment
                end()
