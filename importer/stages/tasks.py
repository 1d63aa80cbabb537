"""Defines what is sent to the workers and back: small plain tasks and results, and the functions by name.

Only the workers import the heavy libraries that a task needs: a function named here is looked up there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from importer.workers.remote_function import RemoteFunction

if TYPE_CHECKING:
    from importer.conversion.model import Converted, ConvertTask
    from importer.decoding.tasks import ReadTask, StringsTask, WindowRead
    from importer.load.copy import CopyTarget
    from importer.validation.tasks import CheckTask, WindowChecked


@dataclass(frozen=True)
class LoadTask:
    """Read, check and write one window in one go.

    Attributes:
        read: the read task; None: the window was read before.
        rows: first and last sheet row of the window.
        keep: whether to write the frame to the spool, because it may be needed later.
        check: the check task.
        target: where the chunk is written to, and how; None: leave it in the spool.
    """

    read: ReadTask | None
    rows: tuple[int, int]
    keep: bool
    check: CheckTask
    target: CopyTarget | None


class WindowLoaded(NamedTuple):
    """The results of loading a window.

    Attributes:
        read: result of the reading; None if it was read before.
        checked: result of the check; None if the window has no rows, or some that may be no data (see `streamed_load`).
    """

    read: WindowRead | None
    checked: WindowChecked | None


#: See `conversion.convert.convert_sheet`.
convert_sheet: RemoteFunction[ConvertTask, Converted] = RemoteFunction("importer.conversion.convert", "convert_sheet")
#: See `worker.read_window`.
read_window: RemoteFunction[ReadTask, WindowRead] = RemoteFunction("importer.stages.worker", "read_window")
#: See `worker.parse_strings`.
parse_strings: RemoteFunction[StringsTask, int] = RemoteFunction("importer.stages.worker", "parse_strings")
#: See `worker.check_window`.
check_window: RemoteFunction[CheckTask, WindowChecked] = RemoteFunction("importer.stages.worker", "check_window")
#: See `worker.load_window`.
load_window: RemoteFunction[LoadTask, WindowLoaded] = RemoteFunction("importer.stages.worker", "load_window")
