"""Says how a child process ended, for messages."""

from __future__ import annotations

import contextlib
import signal


def describe_end(code: int) -> str:
    """Return how a process ended, as the end of a sentence: `was killed (SIGKILL)`.

    Args:
        code: its exit code; -N if signal N killed it, as in `subprocess.Popen.returncode`.
    """
    if code >= 0:
        return f"ended with code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed ({signal.Signals(-code).name})"
    return f"was killed (signal {-code})"
