"""Waits for calls: they end with the call, its error, or the deadline, and are never taken for one another."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from importer.runtime.interruptible import await_result


class EndsLate(Future[int]):
    """A call that ends just behind the end of the first wait for it."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self._error = error

    def result(self, timeout: float | None = None) -> int:
        if self.done():
            return super().result(timeout)
        if self._error is None:
            self.set_result(1)
        else:
            self.set_exception(self._error)
        raise TimeoutError


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_call_that_ends_as_a_wait_does_gives_its_result(seconds: float | None) -> None:
    assert await_result(EndsLate(), seconds) == 1


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("its own")])
def test_call_that_fails_as_a_wait_ends_gives_its_error(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        await_result(EndsLate(error))
    assert caught.value is error


def test_wait_ends_at_its_limit() -> None:
    with pytest.raises(TimeoutError):
        await_result(Future[int](), 0.0)
