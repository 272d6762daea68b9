"""Named places where a test kills this process: `EASEL_KILL_AT=name` or `name:3` (the third time). Off otherwise.

What is promised about `kill -9` is proved by dying at every one of these places (`tests/faults/test_kills.py`).
"""

from __future__ import annotations

import os
import signal
from itertools import count

_NAME, _, _TURN = os.environ.get("EASEL_KILL_AT", "").partition(":")
_passed = count(1)


def killpoint(name: str) -> None:
    """Die here, as by `kill -9`, when a test asked for it."""
    if name == _NAME and next(_passed) == int(_TURN or 1):
        os.kill(os.getpid(), signal.SIGKILL)
