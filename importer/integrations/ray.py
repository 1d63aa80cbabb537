"""Runs imports on a Ray cluster: an executor of `concurrent.futures` whose tasks are Ray's."""

from __future__ import annotations

import contextlib
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from importer.errors import ConnectionFailed, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Answer = TypeVar("Answer")
#: Seconds that workers have to answer a question.
_ANSWER_SECONDS = 15.0


class RayExecutor(Executor):
    """Runs tasks on the Ray cluster that this process is connected to, one in each worker process at a time.

    Args:
        options: options of `ray.remote`, such as `num_cpus` or `resources`. A task whose worker dies is run by another
            one, three times if `max_retries` does not say otherwise.
    """

    def __init__(self, **options: Any) -> None:
        self._options = {"num_cpus": 1, **options}
        self._refs: dict[Future[Any], Any] = {}
        #: Numbers of the imports that the tasks are, as far as they are any.
        self._numbers: dict[Future[Any], int | None] = {}

    def submit(self, function: Callable[..., Answer], /, *args: Any, **kwargs: Any) -> Future[Answer]:
        """Hand out a task, and return its future; cancelling that cancels the task."""
        ref = ray.remote(**self._options)(function).remote(*args, **kwargs)
        future: Future[Answer] = Future()
        self._refs[future] = ref
        self._numbers[future] = getattr(args[0], "number", None) if args else None
        future.add_done_callback(self._ended)
        ref.future().add_done_callback(lambda answer: _settle(future, answer))
        return future

    def _ended(self, future: Future[Any]) -> None:
        ref = self._refs.pop(future, None)
        self._numbers.pop(future, None)
        if future.cancelled() and ref is not None:
            _cancel(ref)

    def stop(self, _stop_batch: Callable[[str], list[int]], _batch: str) -> set[int]:
        """Cancel all tasks, which interrupts those that run; see `clusters.Cluster`."""
        # Ray answers for each, and does not say which of them ran.
        numbers = {number for number in list(self._numbers.values()) if number is not None}
        for ref in list(self._refs.values()):
            _cancel(ref)
        return numbers

    def ask_workers(self, function: Callable[[], Answer]) -> dict[str, Answer]:
        """Call a function in a worker of every machine; see `clusters.Cluster`."""
        answers: dict[str, Answer] = {}
        with contextlib.suppress(Exception):
            asked = ray.remote(num_cpus=0)(function)
            refs = {
                node["NodeManagerAddress"]: asked.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote()
                for node in ray.nodes()
                if node["Alive"]
            }
            answers = {name: ray.get(ref, timeout=_ANSWER_SECONDS) for name, ref in refs.items()}
        return answers


def _cancel(ref: Any) -> None:
    with contextlib.suppress(Exception):
        ray.cancel(ref)


def _settle(future: Future[Answer], answer: Future[Answer]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    error = answer.exception()
    if error is None:
        future.set_result(answer.result())
    elif isinstance(error, ray.exceptions.TaskCancelledError):
        future.set_exception(Interrupted("the import was told to stop", choice="run the same command again"))
    else:
        future.set_exception(error)


@contextlib.contextmanager
def connect(place: str) -> Iterator[Executor]:
    """Connect to a cluster, and yield an executor whose tasks run there.

    Args:
        place: `HOST:PORT` of a Ray client server; `auto` for the cluster that this machine is part of, `local` for one
            that is started here.

    Raises:
        ConnectionFailed: no cluster answers.
    """
    own = place == "local"
    address = place if place in {"auto", "local"} else f"ray://{place}"
    try:
        # In this thread: from another one Ray does not start. It limits its own time.
        ray.init(address, log_to_driver=False, logging_level="error", **({"include_dashboard": False} if own else {}))
    except Exception as exc:  # noqa: BLE001 - whatever Ray raises that meets something else
        said = " ".join(str(exc).split())[:200] or repr(exc)
        # A wrong token looks like a server that is not there: Ray's client runs into its limit of time.
        choice = "check the address, and the token that the cluster asks for (RAY_AUTH_TOKEN)"
        raise ConnectionFailed(f"no Ray cluster answers ({said})", place=f"ray://{place}", choice=choice) from None
    try:
        yield RayExecutor()
    finally:
        ray.shutdown()
