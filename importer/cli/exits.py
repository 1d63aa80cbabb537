"""Turns errors and signals into messages and exit codes, and lets the run clean up before it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import click

from importer.errors import BudgetExceeded, CommitUnknown, ImporterError, Interrupted, MachineError, NotDelivered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from importer.report.model import Report

#: Exit code of a run that is done but rejected rows, where no budget says that these are accepted.
EXIT_REJECTED = 1
#: A wrapper that forwards Ctrl-C turns one signal into two; only a second signal later than this ends the run at once.
_SECOND_SIGNAL_SECONDS = 2.0


class _Terminated(KeyboardInterrupt):
    """A signal that ends the run as Ctrl-C does; its first argument is the signal's number."""


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Turn the signals that end a program into an exception, so that workers, staging and spool are cleaned up."""
    first: float | None = None
    raised: _Terminated | None = None

    def stop(number: int, _frame: object) -> None:
        nonlocal first, raised
        if first is None or getattr(raised, "dropped", False):  # see `signals`
            first, raised = time.monotonic(), _Terminated(number)
            raise raised
        if time.monotonic() - first > _SECOND_SIGNAL_SECONDS:
            os._exit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # Signals that the caller ignores (nohup, a background job of sh) stay ignored.
    for number in numbers:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        # Everything is reported and cleaned up. While it shuts down, the interpreter restores the default action of
        # Ctrl-C unless it is ignored; a late Ctrl-C must not change the exit code.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def exit_on_error(
    *, as_json: bool = False, quiet: bool = False, debug: bool = False, report_to: str | None = None
) -> Iterator[None]:
    """Turn every error into a message on stderr (and JSON on stdout with `as_json`, and there) and its exit code."""
    try:
        with until_nobody_reads():
            yield
    except (click.ClickException, SystemExit):
        raise
    except BaseException as exc:  # noqa: BLE001 - no traceback without --debug, whatever a library raises
        if debug:
            import traceback

            traceback.print_exception(exc)
        _report_and_exit(_user_error(exc), report_to, as_json=as_json, quiet=quiet)


@contextmanager
def until_nobody_reads() -> Iterator[None]:
    """Print no more to a standard output whose reader has left, as `head` does; what was done keeps its exit code."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        _drop_stdout()


def _nobody_reads() -> bool:
    """Return whether standard output is a pipe that was closed at its other end, as far as this system tells."""
    import select

    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in poll.poll(0))


def _user_error(exc: BaseException) -> ImporterError:
    """Return the error to show for an exception."""
    if isinstance(exc, CommitUnknown):
        if isinstance(exc.stopped_by, KeyboardInterrupt):
            return _signal_error(exc.stopped_by, " while publishing, which may have been done", exc.choice)
        return exc.as_timeout() or exc
    if isinstance(exc, ImporterError):
        return exc
    return interrupted_error(exc) if isinstance(exc, KeyboardInterrupt) else _unexpected_error(exc)


def interrupted_error(exc: KeyboardInterrupt) -> ImporterError:
    """Return the error that a signal means before anything is published; it says how to continue."""
    return _signal_error(exc, "; nothing was published", "; ".join(getattr(exc, "__notes__", ())) or None)


def _signal_error(exc: KeyboardInterrupt, state: str, choice: str | None) -> ImporterError:
    """Return the error that a signal means.

    Args:
        exc: exception of the signal.
        state: what is known of the rows, as the end of the message.
        choice: how to continue, or None.
    """
    number = exc.args[0] if isinstance(exc, _Terminated) else signal.SIGINT
    word = "interrupted" if number == signal.SIGINT else "terminated"
    error = Interrupted(f"{word}{state}", choice=choice)
    error.exit_code = 128 + number
    return error


def _unexpected_error(exc: BaseException) -> ImporterError:
    if isinstance(exc, OSError):
        return MachineError(f"the machine refused: {exc.strerror or exc}", place=exc.filename)
    fact = str(exc).strip().split("\n", 1)[0][:300]
    return MachineError(
        f"unexpected {type(exc).__name__}: {fact}", choice="run again with --debug, and report what it prints"
    )


def _report_and_exit(error: ImporterError, report_to: str | None, *, as_json: bool, quiet: bool) -> None:
    # What the pipeline attaches is the run report; `errors` knows only that it has a dict.
    report = cast("Report | None", error.report) if isinstance(error, BudgetExceeded) else None
    described = {"type": type(error).__name__, "message": error.fact, "place": error.place, "choice": error.choice}
    shown = {
        "outcome": "failed",
        **(report.to_dict() if report else {}),
        "error": {**described, "exit_code": error.exit_code},
    }
    with _ignore_broken_stdout():
        if as_json:
            click.echo(_json(shown))
        elif report:
            show_report(report, as_json=False, quiet=quiet, verbose=False)
    with _ignore_broken_stdout():
        click.echo(f"importer: {error}", err=True)
    sys.exit(deliver_report(lambda: [_json(shown)], report_to, error.exit_code))


def check_report_place(place: str | None) -> None:
    """Refuse an address that no report can be written to, before anything is done."""
    if place is None:
        return
    from importer.urls import Url, path_or_url

    if isinstance(url := path_or_url(place), Url):
        from importer.remote.upload import check_destination

        check_destination(url)


def _json(shown: dict[str, Any]) -> str:
    return json.dumps(shown, ensure_ascii=False, indent=2)


def deliver_report(pieces: Callable[[], Iterable[str]], place: str | None, code: int) -> int:
    """Write a report where `--report` says, and return the exit code: 4 if it cannot be written and all else was well.

    Args:
        pieces: returns the report in pieces, as `--json` prints it.
        place: path or address; None: nowhere.
        code: exit code of the run.
    """
    if place is None:
        return code
    from importer.remote.upload import write_bytes
    from importer.urls import path_or_url

    try:
        write_bytes("".join(pieces()).encode("utf-8", "replace"), path_or_url(place))
    except (ImporterError, OSError) as exc:
        kept = f"; it is in {exc.kept}" if isinstance(exc, NotDelivered) else ""
        fact = getattr(exc, "fact", None) or getattr(exc, "strerror", None) or str(exc)
        with _ignore_broken_stdout():
            click.echo(f"importer: the report is not where it should be: {fact}{kept}", err=True)
        return code if code > EXIT_REJECTED else MachineError.exit_code
    return code


@contextmanager
def _ignore_broken_stdout() -> Iterator[None]:
    """Give up on a stdout that is closed or full, so that Python does not report it again at exit."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _drop_stdout()


def _drop_stdout() -> None:
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def show_report(report: Report, *, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Print a report as JSON or as text, or not at all if `quiet`."""
    with until_nobody_reads():
        if as_json:
            click.echo(_json(report.to_dict()))
        elif not quiet:
            from .render import output, print_report

            print_report(report, output(), verbose=verbose)
