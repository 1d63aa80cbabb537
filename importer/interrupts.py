"""Owns interrupts that Python drops: one that arrives in a callback or a finalizer is printed there and forgotten."""

from __future__ import annotations

import _thread
import signal
import sys
import threading

#: Until the callback is over, in seconds.
_MOMENT = 0.01


def keep_interrupts() -> None:
    """Interrupt the main thread again, a moment later, where that happened.

    An import alone runs dozens of such callbacks. The exception gets an attribute `dropped`, which tells a handler that
    nobody has seen it.
    """
    others = sys.unraisablehook

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        error = dropped.exc_value
        if not isinstance(error, KeyboardInterrupt):
            others(dropped)
            return
        while error is not None:
            error.__dict__["dropped"] = True
            number = error.args[0] if error.args else signal.SIGINT
            error = _again(number)

    sys.unraisablehook = hook


def _again(number: int) -> KeyboardInterrupt | None:
    """Let the signal come again; returns what it raised where it came so early that it would be dropped, too."""
    try:
        threading.Timer(_MOMENT, _interrupt, [number]).start()
    except KeyboardInterrupt as exc:
        return exc
    return None


def _interrupt(number: int) -> None:
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:
        # To that thread itself, so that it also wakes up.
        signal.pthread_kill(threading.main_thread().ident or 0, number)
