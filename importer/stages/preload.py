"""Imports what all workers need, once in the fork server; imported there, and nowhere else."""

from __future__ import annotations

import concurrent.futures.process  # noqa: F401 - every worker runs in it
import gc
import os

# Polars' allocator returns freed pages to the system in a thread of its own, and at once where that thread is missing,
# as in every forked process: each window would fault all its memory in again (8 s of system time for 1,000,000 rows).
# A worker uses the same memory window after window, so it keeps it.
# That thread must not run here: a fork while it works may leave a worker with a lock that is never released.
os.environ["_RJEM_MALLOC_CONF"] = "background_thread:false,dirty_decay_ms:-1,muzzy_decay_ms:-1"

# Nothing here multiplies matrices, but OpenBLAS starts threads when it is imported, which takes 50 ms of CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The imports create thousands of objects and no garbage. The collector does not write to frozen objects, so that the
# workers keep sharing their pages.
gc.disable()

from importer.workers.late_imports import import_metadata_late  # noqa: E402

import_metadata_late()

import pyarrow as pa  # noqa: E402, F401 - the engine returns its arrays

from importer.decoding import iso_dates  # noqa: E402, F401 - windows that need it import it
from importer.decoding.engine import import_library  # noqa: E402
from importer.reading import judge  # noqa: E402, F401 - likewise, with the other modules that read cells in another way
from importer.runtime.locked_folder import hold  # noqa: E402, F401 - sets up every worker
from importer.workers.allocator import keep_freed_memory  # noqa: E402
from importer.workers.fork_server import begin  # noqa: E402, F401 - initializes every worker
from importer.workers.task_result import run_timed  # noqa: E402, F401 - runs every task of a worker

from . import worker as workers  # noqa: E402, F401 - polars reads the setting when it is imported

import_library()
keep_freed_memory()

gc.freeze()
gc.enable()
