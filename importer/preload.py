"""Owns what the fork server imports once for all workers; imported there, and nowhere else."""

from __future__ import annotations

import concurrent.futures.process  # noqa: F401 - what a worker is made of
import gc
import os

# Polars' allocator gives freed pages back in a thread of its own, and at once where that thread is missing, as in
# every forked process: each window would fault all its memory in again (8 s of system time for 1,000,000 rows).
# A worker uses the same memory window after window, so it keeps it.
# The thread itself must not be here: a fork in the middle of its work may leave a worker with a lock that nobody opens.
os.environ["_RJEM_MALLOC_CONF"] = "background_thread:false,dirty_decay_ms:-1,muzzy_decay_ms:-1"

# Nothing here multiplies matrices; the library that would starts threads when it is imported, for 50 ms of CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Thousands of classes are made, none is garbage. Frozen, the collector does not write to their pages, which the workers
# share as long as nobody does.
gc.disable()

import pyarrow as pa  # noqa: E402, F401 - the engine answers in its arrays

from . import workers  # noqa: E402, F401 - polars reads the setting when it is imported
from .memory import keep_freed_memory  # noqa: E402
from .outcome import timed  # noqa: E402, F401 - what a worker runs all tasks by
from .starting import begin  # noqa: E402, F401 - and begins with

keep_freed_memory()

gc.freeze()
gc.enable()
