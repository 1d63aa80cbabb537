"""Repeats interrupts that Python drops: one that arrives in a callback or a finalizer is only printed there."""

from __future__ import annotations

import _thread
import signal
import sys
import threading

#: Seconds until the callback should be over.
_DELAY_SECONDS = 0.01


def repeat_dropped_interrupts() -> None:
    """Install a hook that interrupts the main thread again, a moment after an interrupt was dropped.

    Importing a module alone runs dozens of such callbacks. The exception gets an attribute `dropped`, which says to a
    handler that the interrupt was never handled.
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
    """Schedule the signal again; return the interrupt that arrived meanwhile, which would be dropped too, or None."""
    try:
        threading.Timer(_DELAY_SECONDS, _interrupt, [number]).start()
    except KeyboardInterrupt as exc:
        return exc
    return None


def _interrupt(number: int) -> None:
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:
        # Sent to the main thread itself, so that a blocking call there is woken too.
        signal.pthread_kill(threading.main_thread().ident or 0, number)
