"""Prefetches: makes the next items of an iterator in threads while the current one is used."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")


class _PrefetchThread(threading.Thread, Generic[Item]):
    """The thread that makes the items; the last entry of its queue has no item, only an error or None."""

    def __init__(self, items: Iterator[Item], most: int) -> None:
        super().__init__(daemon=True)
        self._items = items
        self._made: queue.Queue[_Entry[Item]] = queue.Queue(most)
        self.cancelled = threading.Event()

    def run(self) -> None:
        try:
            for item in self._items:
                self._put(_Entry([item]))
                if self.cancelled.is_set():
                    return
            self._put(_Entry([]))
        except BaseException as exc:  # noqa: BLE001 - raised again in the other thread
            self._put(_Entry([], exc))

    def _put(self, entry: _Entry[Item]) -> None:
        while not self.cancelled.is_set():
            with contextlib.suppress(queue.Full):
                self._made.put(entry, timeout=0.1)
                return

    def results(self) -> Iterator[Item]:
        """Yield the items, waiting for those that are not made yet."""
        while (entry := self._made.get()).items:
            yield from entry.items
        if entry.error is not None:
            raise entry.error


class _Entry(NamedTuple, Generic[Item]):
    """One item; or none at the end, with the error that ended the iterator, if any."""

    items: list[Item]
    error: BaseException | None = None


@contextlib.contextmanager
def ahead(items: Iterator[Item], most: int) -> Iterator[Iterator[Item]]:
    """Yield an iterator over the same items that makes up to `most` of them ahead; its thread ends with the block.

    An error in making an item is raised where that item would have been returned.
    """
    maker = _PrefetchThread(items, most)
    maker.start()
    try:
        yield maker.results()
    finally:
        maker.cancelled.set()
        maker.join()


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield `function` of every item, in order, computed in threads; holds only a few items at a time.

    Useful if the function runs outside Python, without the GIL, for most of its time.
    """
    with ThreadPoolExecutor(threads) as pool:
        held: deque[Future[Result]] = deque()
        for item in items:
            held.append(pool.submit(function, item))
            if len(held) > threads:
                yield held.popleft().result()
        while held:
            yield held.popleft().result()
