"""Workers that die, hang or are told to stop: a clear error, the target untouched, and no process left."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import multiprocessing.context
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support.commandline import MIB, SECONDS, Running, assert_clean, importer, started
from support.inworkers import in_workers
from support.rawbook import inline, number, row, write_rows
from support.workertasks import Task, stuck_once, task

from importer import import_workbook
from importer.errors import ImporterError, MachineError, ReaderDied, UsageError
from importer.settings import Limits, Settings
from importer.workers import in_flight as inflight
from importer.workers import worker_process as processes
from importer.workers.fork_server import context, isolated_start
from importer.workers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Database

    from importer.workers.task_result import Death

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits are POSIX")
GOOD = row(1, inline("A1", "a")) + row(2, inline("A2", "x"))


class Died(ImporterError):
    """The error of the pool's user for a task whose worker died."""


def died(failed: Task, how: Death) -> ImporterError:
    return Died(f"{failed.name} {how}")


@pytest.fixture
def make_pool(tmp_path: Path) -> Iterator[Any]:
    """Pools of the test, ended behind it."""
    with contextlib.ExitStack() as stack:

        def make(workers: int, **limits: Any) -> Pool:
            return stack.enter_context(Pool(workers, Limits(**limits), tmp_path / "workers.log"))

        yield make


def run(pool: Pool, *tasks: Task, **options: Any) -> list[Any]:
    return list(pool.run(task, tasks, died, **options))


# ---- THE POOL ALONE ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_share_the_cores(make_pool: Any, workers: int) -> None:
    """The fork server has imported polars before the number of its threads is known."""
    assert run(make_pool(workers), Task("polars-threads")) == [max((os.cpu_count() or 1) // workers, 1)]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_pool_results(make_pool: Any, workers: int) -> None:
    assert sorted(run(make_pool(workers), *(Task("echo", n) for n in range(20)))) == list(range(20))


def test_worker_that_never_comes_to_life_is_replaced(
    make_pool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflight, "_START_SECONDS", 1.0)
    monkeypatch.setattr(processes, "_WARM_UP", functools.partial(stuck_once, str(tmp_path / "first")))
    assert sorted(run(make_pool(2), *(Task("echo", n) for n in range(6)))) == list(range(6))
    assert (tmp_path / "first").exists()


def test_pool_uses_as_many_processes_as_it_may(make_pool: Any) -> None:
    pool = make_pool(2)
    pids = set(run(pool, *(Task("pid", 0.2) for _ in range(4))))
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert len(set(run(pool, *(Task("pid", 0.01) for _ in range(6)), workers=1))) == 1


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("kill", "kill was killed, or ran out of memory (SIGKILL)"),
        ("abort", "abort was killed, or ran out of memory (SIGABRT)"),
        ("exit", "exit was killed, or ran out of memory"),
        ("memory", "memory ran out of memory"),
        ("enomem", "enomem ran out of memory"),
        ("panic", "panic failed (PanicException: called `Option::unwrap()` on a `None` value)"),
        ("unpicklable", "unpicklable failed (Unpicklable: 1)"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_pool_survives_a_death(make_pool: Any, workers: int, name: str, how: str) -> None:
    """The error tells which task and how; the same pool goes on with other tasks."""
    pool = make_pool(workers, memory_bytes=512 * MIB)
    with pytest.raises(Died) as caught:
        run(pool, Task("echo", 1), Task(name))
    assert caught.value.fact == how
    assert sorted(run(pool, *(Task("echo", n) for n in range(8)))) == list(range(8))


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_pool_repeats_once_what_others_killed(make_pool: Any, tmp_path: Path, sent: signal.Signals) -> None:
    """What crashes by itself would crash again; what can be done once only is not repeated."""
    pool, by_others = make_pool(1), sent in {signal.SIGKILL, signal.SIGTERM}
    wanted, deaths = Task("killed-first", sent, str(tmp_path / "flag")), []

    def died(failed: Task, how: Death) -> ImporterError:
        deaths.append(how.by_others)
        return Died(f"{failed.name} {how}")

    with contextlib.nullcontext() if by_others else pytest.raises(Died, match=sent.name):
        assert list(pool.run(task, [wanted], died, again=True))
    with pytest.raises(Died, match="SIGKILL"):
        list(pool.run(task, [Task("kill")], died, again=True))
    (tmp_path / "flag").unlink()
    with pytest.raises(Died, match=sent.name):
        list(pool.run(task, [wanted], died))
    assert deaths == [False] * (not by_others) + [True, by_others]


def test_pool_death_of_one_kills_what_still_runs(make_pool: Any) -> None:
    pool = make_pool(2)
    started_at = time.monotonic()
    with pytest.raises(Died, match="kill was killed"):
        run(pool, Task("sleep", 500), Task("kill"))
    assert run(pool, Task("echo", 1), Task("echo", 2)) in ([1, 2], [2, 1])
    assert time.monotonic() - started_at < 60


def test_pool_wall_limit(make_pool: Any) -> None:
    pool = make_pool(2, task_seconds=3)
    run(pool, Task("echo", 1), Task("echo", 2))
    with pytest.raises(Died, match=r"sleep took longer than 3 s"):
        run(pool, Task("sleep", 500))
    assert run(pool, Task("echo", 3)) == [3]


def test_pool_infinite_wall_limit(make_pool: Any) -> None:
    assert run(make_pool(1, task_seconds=float("inf")), Task("echo", 1)) == [1]


def test_pool_worker_that_dies_between_tasks_is_replaced(make_pool: Any) -> None:
    pool = make_pool(1)
    (pid,) = run(pool, Task("pid", 0))
    worker = psutil.Process(pid)
    worker.kill()
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    wait_until_noticed(pool.known(0))
    (again,) = run(pool, Task("pid", 0))
    assert again != pid


def test_pool_our_errors_keep_their_class(make_pool: Any) -> None:
    with pytest.raises(UsageError) as caught:
        run(make_pool(1), Task("usage"))
    assert (caught.value.fact, caught.value.place, caught.value.choice) == ("fact", "place", "choice")


def test_pool_operating_system_errors(make_pool: Any) -> None:
    with pytest.raises(MachineError) as caught:
        run(make_pool(1), Task("disk-full"))
    assert caught.value.fact == f"the machine refused: {os.strerror(errno.ENOSPC)}"
    assert caught.value.place == "/spool/x.arrow"


def test_pool_panic_shows_its_traceback_as_the_cause(make_pool: Any) -> None:
    with pytest.raises(Died) as caught:
        run(make_pool(1), Task("panic"))
    assert "workertasks.py" in str(caught.value.__cause__)


def test_pool_without_workers_hears_ctrl_c(make_pool: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(make_pool(0), Task("interrupt"))


def test_pool_memory_limit_is_what_a_worker_may_add(make_pool: Any) -> None:
    """With half a GiB, 400 MiB can be had and 600 cannot, whatever the worker holds before."""
    pool = make_pool(1, memory_bytes=512 * MIB)
    assert run(pool, Task("allocate", 400 * MIB)) == [400 * MIB]
    with pytest.raises(Died, match="ran out of memory"):
        run(pool, Task("allocate", 600 * MIB))


def test_pool_memory_limit_leaves_mapped_files_out(make_pool: Any, tmp_path: Path) -> None:
    """The spool is mapped, not held: it may be larger than the limit."""
    path = tmp_path / "spool"
    with path.open("wb") as file:
        file.truncate(700 * MIB)
    assert run(make_pool(1, memory_bytes=256 * MIB), Task("map", str(path))) == [700 * MIB]


def test_pool_workers_output_goes_to_the_log(make_pool: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(make_pool(1), Task("print"))
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "workers.log").read_text() == "native\npython\n"


def test_pool_closes_with_a_task_running(tmp_path: Path) -> None:
    """An error in the block that uses the pool does not wait for the workers, and leaves none."""
    pids = tmp_path / "pids"
    with pytest.raises(ZeroDivisionError), Pool(2, Limits(), tmp_path / "log") as pool:
        results = pool.run(task, [Task("echo", 1), Task("sleep", 500, str(pids))], died)
        next(results)
        wait_until(pids.exists)
        raise ZeroDivisionError
    wait_until(lambda: not psutil.pid_exists(int(pids.read_text())))


def test_pool_abandoned_generator_frees_its_workers(make_pool: Any) -> None:
    pool = make_pool(2)
    results = pool.run(task, [Task("echo", 1), Task("sleep", 500)], died)
    assert next(results) == 1
    results.close()
    assert sorted(run(pool, Task("echo", 1), Task("echo", 2))) == [1, 2]


def test_pool_method_is_never_fork() -> None:
    assert context().get_start_method() == "forkserver"


def test_lane_knows_its_process_and_how_it_ended(make_pool: Any) -> None:
    """From the context, whose `Process` an executor is to call; should it stop to, no worker would be killed."""
    pool = make_pool(1)
    (pid,) = run(pool, Task("pid", 0))
    worker = pool.known(0)
    assert [process.pid for process in worker._context.processes] == [pid]
    os.kill(pid, signal.SIGSTOP)  # hears nothing but the one signal
    pool.drop(0)
    assert (gone(pid), worker.death()) == (True, ("was killed, or ran out of memory (SIGKILL)", True))


def test_lane_whose_process_did_not_start_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Any) -> None:
        raise OSError(errno.EAGAIN, "no process")

    monkeypatch.setattr(multiprocessing.context.ForkServerProcess, "start", refused)
    worker = processes.WorkerProcess(1)
    with pytest.raises(OSError, match="no process"):
        worker.start()
    worker.close(kill=True)
    assert worker.death() == ("was killed, or ran out of memory", False)


def test_fork_server_is_killed_while_it_imports() -> None:
    """Its pid is no public attribute: where a Python has it elsewhere, this fails."""
    program = (
        "import psutil\nfrom importer.workers.fork_server import kill_fork_server, warm_up\n"
        "def servers(): return [c for c in psutil.Process().children() if 'multiprocessing.forkserver' in ' '.join(c.cmdline())]\n"
        "kill_fork_server()\n"  # there is none
        "warm_up()\n(server,) = servers()\nkill_fork_server()\nprint(server.wait(200))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "-9\n", "")


# ---- WORKERS THAT WERE STARTED AHEAD ----------------------------------------------------------------------------


@pytest.fixture
def ahead() -> Iterator[None]:
    """Workers that no test took are ended behind it."""
    yield
    processes.end_prestarted()


def spares(number: int) -> list[int]:
    """Start workers ahead; the processes, which are ready and wait where a pool finds them."""
    processes.prestart(number)
    ready = [processes._ahead._ready.get() for _ in range(processes._ahead._coming)]
    for worker in ready:
        processes._ahead._ready.put(worker)
    return [worker._context.processes[0].pid for worker in ready if worker is not None]


def wait_until_noticed(worker: processes.WorkerProcess) -> None:
    """Wait until the executor knows that its worker, which was killed, is dead."""
    with pytest.raises(BrokenProcessPool):
        worker.submit(task, Task("echo")).result(SECONDS)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.usefixtures("ahead")
def test_pool_takes_workers_that_were_started_ahead(make_pool: Any) -> None:
    cores = os.cpu_count() or 1
    known = spares(cores)
    pool = make_pool(cores)
    assert set(run(pool, *(Task("pid", 0.2) for _ in range(2 * cores)))) <= set(known)
    assert processes._ahead._coming == 0


@pytest.mark.usefixtures("ahead")
def test_a_worker_started_ahead_has_the_limit_of_its_pool(make_pool: Any) -> None:
    spares(1)
    with pytest.raises(Died, match="memory ran out of memory"):
        run(make_pool(os.cpu_count() or 1, memory_bytes=512 * MIB), Task("memory"))


@pytest.mark.usefixtures("ahead")
def test_a_worker_started_ahead_that_died_is_replaced(make_pool: Any) -> None:
    (pid,) = spares(1)
    worker = processes._ahead._ready.get()
    os.kill(pid, signal.SIGKILL)
    wait_until_noticed(worker)
    processes._ahead._ready.put(worker)
    pool = make_pool(os.cpu_count() or 1)
    assert sorted(run(pool, *(Task("echo", n) for n in range(6)))) == list(range(6))


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one worker of one core has all threads in any case")
@pytest.mark.usefixtures("ahead")
def test_workers_started_ahead_for_other_settings_are_ended(make_pool: Any) -> None:
    """A single worker may use all cores; those that were started to share them are of no use to it."""
    others = spares(2)
    (pid,) = run(make_pool(1), Task("pid", 0))
    assert pid not in others
    wait_until(lambda: all(map(gone, others)))


def test_workers_that_nobody_takes_are_ended() -> None:
    started = spares(2)
    processes.end_prestarted()
    wait_until(lambda: all(map(gone, started)))
    processes.end_prestarted()  # nothing is left, and nothing is waited for


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5])
def test_the_program_ends_while_workers_are_still_to_come(tmp_path: Path, delay: float) -> None:
    """None of them complains that it came too late, and none stays."""
    code = (
        "import sys, time\nfrom importer import __main__\nfrom importer.cli import commands as cli\n"
        f"def refused(): time.sleep({delay}); sys.exit(2)\ncli.main = refused\n__main__.main()"
    )
    path = write_rows(tmp_path / "s.xlsx", GOOD)
    with started(sys.executable, "-c", code, "run", str(path), env=UNWARNED) as running:
        ran = running.finish()
    assert (ran.code, ran.err) == (2, "")
    assert_clean(ran)


@pytest.mark.usefixtures("ahead")
@pytest.mark.parametrize("error", [EOFError(), OSError(errno.EAGAIN, "no process")])
def test_a_worker_that_could_not_be_started_ahead_is_started_by_the_pool(
    make_pool: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither by the command line nor by the pool's own thread; whoever wants it tries once more."""
    left, start = [2], processes.WorkerProcess.start

    def refused(worker: processes.WorkerProcess) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        start(worker)

    monkeypatch.setattr(processes.WorkerProcess, "start", refused)
    processes.prestart(1)
    pool = make_pool(os.cpu_count() or 1)
    pool.start(1)
    pool._starter.join()
    assert run(pool, Task("echo", 1)) == [1]
    assert left[0] < 0
    assert capfd.readouterr().err == ""


def test_the_main_module_is_shown_again_when_the_last_thread_has_started_its_processes() -> None:
    main = sys.modules["__main__"]
    with contextlib.ExitStack() as first, isolated_start():
        first.enter_context(isolated_start())
        assert sys.modules["__main__"] is not main
        first.close()
        assert sys.modules["__main__"] is not main
    assert sys.modules["__main__"] is main


@pytest.mark.parametrize("limits", [{"task_seconds": 0}, {"memory_bytes": -1}])
def test_limits_must_be_positive(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="limits must be positive"):
        Settings(workbook=Path("x.xlsx"), limits=Limits(**limits))


def wait_until(condition: Any, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


# ---- RUNS -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workbook of 80,000 rows: several windows, and more than is read without workers."""
    head = row(1, inline("A1", "number"), inline("B1", "name"), inline("C1", "city"))
    number = '<c r="A{0}"><v>{0}</v></c>'
    rows = "".join(
        row(n, number.format(n), inline(f"B{n}", f"name {n}"), inline(f"C{n}", f"city {n % 99}"))
        for n in range(2, 80_002)
    )
    return write_rows(tmp_path_factory.mktemp("big") / "big.xlsx", head + rows, name="Orders")


@contextlib.contextmanager
def loading(db: Database, path: Path, *options: str, **started_options: Any) -> Iterator[Running]:
    """A run under way, into table `t`, which holds one row before."""
    db.run(
        f"CREATE TABLE IF NOT EXISTS {db.schema}.t (number bigint, name text, city text)",
        f"INSERT INTO {db.schema}.t VALUES (0, 'before', '')",
    )
    command = [
        sys.executable,
        "-m",
        "importer",
        "run",
        str(path),
        "--to",
        db.dsn.text,
        "--table",
        "t",
        "--workers",
        "2",
        *options,
    ]
    with started(*command, cwd=path.parent, **started_options) as running:
        yield running


#: A signal can come between the opening of a file and the line that closes it; Python then tells of it, when asked to.
UNWARNED = {"PYTHONWARNINGS": "ignore::ResourceWarning"}


def assert_nothing_published(db: Database) -> None:
    assert db.rows("select number, name from t") == [(0, "before")]


def assert_untouched(db: Database) -> None:
    assert_nothing_published(db)
    wait_until(lambda: db.leftovers() == [])


@pytest.mark.parametrize(
    ("task", "done", "options"),
    [
        ("read_window", "read", ()),
        ("check_window", "validated", ("--chunk-rows", "500", "--method", "concurrent")),
        ("write_chunk", "wrote", ("--method", "concurrent")),
        ("load_window", "read", ()),
    ],
)
def test_worker_killed_every_time(
    db: Database, big: Path, tmp_path: Path, task: str, done: str, options: tuple[str, ...]
) -> None:
    """Whatever it was doing, the command may pass when nobody kills its workers."""
    killing, reached = in_workers(tmp_path, "kill", task)
    with loading(db, big, *options, env=killing) as running:
        ran = running.finish()
    assert (ran.code, reached.exists()) == (4, True), ran
    assert f"importer: the process that {done} sheet 'Orders', rows " in ran.err
    assert "was killed, or ran out of memory (SIGKILL)" in ran.err
    assert_clean(ran)
    if task in {"write_chunk", "load_window"}:
        assert "run the same command again: it goes on where this one stopped" in ran.err
        assert_nothing_published(db)
    else:
        assert_untouched(db)


def test_worker_out_of_memory(db: Database, tmp_path: Path) -> None:
    """A text so long that it does not fit; the message names the limit and the option."""
    rows = row(1, number("A1", 1), inline("B1", "x" * (60 << 20)))
    path = write_rows(tmp_path / "o.xlsx", rows, name="Orders")
    db.run(f"CREATE TABLE {db.schema}.t (number bigint, name text)", f"INSERT INTO {db.schema}.t VALUES (0, 'before')")
    ran = importer("run", path, "--to", db.dsn.text, "--table", "t", "--memory", 64, "--header-row", 0, cwd=tmp_path)
    assert ran.code == 3, ran.err
    assert "the process that read sheet 'Orders', rows " in ran.err
    assert "ran out of memory" in ran.err
    assert "64 MiB (--memory)" in ran.err
    assert_clean(ran)
    assert_untouched(db)


def test_worker_wall_limit(db: Database, big: Path) -> None:
    db.run(f"CREATE TABLE {db.schema}.t (number bigint, name text)", f"INSERT INTO {db.schema}.t VALUES (0, 'before')")
    with pytest.raises(ReaderDied, match=r"sheet 'Orders', rows [0-9]+-[0-9]+, took longer than 0\.001 s") as caught:
        db.load(big, table="t", limits=Limits(task_seconds=0.001))
    assert caught.value.exit_code == 3
    assert_untouched(db)


def test_parent_killed_leaves_no_worker(db: Database, big: Path, tmp_path: Path) -> None:
    holding, reached = in_workers(tmp_path, "hold", "read_window")
    with loading(db, big, env=holding) as running:
        running.wait_for(reached.exists)
        running.look()
        running.process.kill()
        running.process.wait()
        assert running.orphans() == []
    assert db.rows("select number, name from t") == [(0, "before")]


#: The task that workers are held in. With the default method rows are read, judged and written at once.
STAGES = {
    "read": ("read_window", "batch"),
    "validate": ("check_window", "concurrent"),
    "write": ("load_window", "batch"),
    "write row by row": ("write_chunk", "concurrent"),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_stops_a_run(db: Database, big: Path, tmp_path: Path, stage: str, number: int, code: int) -> None:
    """As from a terminal, the signal reaches every process of the run."""
    task, method = STAGES[stage]
    holding, reached = in_workers(tmp_path, "hold", task)
    with loading(db, big, "--json", "--method", method, env=UNWARNED | holding) as running:
        running.wait_for(reached.exists)
        os.killpg(running.process.pid, number) if number == signal.SIGINT else running.process.send_signal(number)
        ran = running.finish()
    word = "interrupted" if number == signal.SIGINT else "terminated"
    go_on = "run the same command again: it goes on where this one stopped"
    choice = go_on if stage.startswith("write") else None
    advice = f"  try:   {choice}\n" if choice else ""
    assert (ran.code, ran.err) == (code, f"importer: {word}; nothing was published\n{advice}")
    assert ran.json["error"] == {
        "type": "Interrupted",
        "message": f"{word}; nothing was published",
        "place": None,
        "choice": choice,
        "exit_code": code,
    }
    assert_clean(ran)
    if choice:
        assert_nothing_published(db)
        last = f"select state from importer.runs where target_schema = '{db.schema}' order by started_at desc limit 1"
        assert db.rows(last) == [("interrupted",)]
    else:
        assert_untouched(db)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("where", ["make_context", "invoke"])
def test_a_signal_while_options_are_parsed(where: str, number: signal.Signals, code: int) -> None:
    """click turns what it catches there into an exception of its own."""
    program = (
        "import signal, click, importer.cli.commands\n"
        f"click.Group.{where} = lambda *args, **options: signal.raise_signal({int(number)})\n"
        "importer.cli.commands.main()"
    )
    ran = subprocess.run([sys.executable, "-c", program, "run", "t.xlsx"], check=False, capture_output=True, text=True)
    assert ran.returncode == code
    assert ran.stderr.strip() == ""


@pytest.mark.parametrize(
    ("number", "code", "place"),
    [
        (signal.SIGINT, 130, "importer.__main__.prestart_workers"),
        (signal.SIGINT, 130, "click.Group.invoke"),
        (signal.SIGTERM, 143, "click.Group.invoke"),
    ],
)
def test_a_signal_that_python_drops_comes_again(number: signal.Signals, code: int, place: str) -> None:
    """In a callback of a weak reference, of which an import makes many, no exception goes further."""
    program = (
        "import signal, sys, time, weakref, click, importer.__main__\n"
        "class Held: pass\n"
        "def interrupted(*args, **options):\n"
        "    held = Held()\n"
        f"    kept = weakref.ref(held, lambda _: signal.raise_signal({int(number)}))\n"
        "    del held\n"
        "    time.sleep(20)\n"
        f"{place} = interrupted\n"
        "importer.__main__.main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, "runs"], check=False, capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False)


def test_a_signal_that_comes_again_too_early_comes_once_more() -> None:
    """On a busy machine the moment passes while Python is still busy with the first one."""
    program = (
        "import signal, threading, time, weakref, click, importer.__main__\n"
        "start, early = threading.Timer.start, [1, 1]\n"
        "def slow(timer):\n"
        "    start(timer)\n"
        "    if early and early.pop(): time.sleep(0.2)\n"
        "threading.Timer.start = slow\n"
        "class Held: pass\n"
        "def interrupted(*args, **options):\n"
        "    held = Held()\n"
        "    kept = weakref.ref(held, lambda _: signal.raise_signal(15))\n"
        "    del held\n"
        "    time.sleep(20)\n"
        "click.Group.invoke = interrupted\n"
        "importer.__main__.main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, "runs"], check=False, capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (143, False)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
def test_ctrl_c_at_any_moment_shows_no_traceback(tmp_path: Path, delay: float) -> None:
    """From the first line of ours on: while modules are imported, the fork server starts, workers start."""
    path = write_rows(tmp_path / "s.xlsx", GOOD)
    # Between the line and `main` the test's own code is interrupted.
    code = (
        "import sys\ntry:\n from importer.__main__ import main; print(flush=True); main()\n"
        "except KeyboardInterrupt: sys.exit(130)"
    )
    with started(sys.executable, "-c", code, "inspect", str(path), stdout=subprocess.PIPE, env=UNWARNED) as running:
        assert running.process.stdout is not None
        running.process.stdout.readline()
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGINT)
        running.process.stdout.close()
        ran = running.finish()
    assert ran.code in {130, 0, 4}, ran
    assert "Traceback" not in ran.err
    assert ran.orphans == []


def test_second_ctrl_c_in_a_row_does_not_disturb_the_tidying(db: Database, big: Path, tmp_path: Path) -> None:
    holding, reached = in_workers(tmp_path, "hold", "load_window")
    with loading(db, big, env=UNWARNED | holding) as running:
        running.wait_for(reached.exists)
        for _ in range(3):
            os.killpg(running.process.pid, signal.SIGINT)
            time.sleep(0.02)
        ran = running.finish()
    assert ran.code == 130
    assert_clean(ran)
    assert_nothing_published(db)


SCRIPT = """
from importer import import_workbook
from importer.workers import pool as pools
print("once", flush=True)
report = import_workbook({path!r}, to={dsn!r}, table="s", workers=2)
print(report.success_count)
"""


@pytest.mark.parametrize("how", ["file", "-c", "stdin"])
def test_script_without_main_guard(db: Database, tmp_path: Path, how: str) -> None:
    """The workers do not run the user's script again."""
    path = write_rows(tmp_path / "s.xlsx", GOOD + row(3, inline("A3", "y")))
    text = SCRIPT.format(path=str(path), dsn=db.dsn.text)
    script = tmp_path / "script.py"
    script.write_text(text)
    arguments = {"file": [str(script)], "-c": ["-c", text], "stdin": ["-"]}[how]
    stdin = script.open() if how == "stdin" else subprocess.DEVNULL
    with started(sys.executable, *arguments, stdin=stdin, cwd=tmp_path) as running:
        ran = running.finish()
    if how == "stdin":
        stdin.close()  # type: ignore[union-attr]
    assert (ran.code, ran.out, ran.err) == (0, "once\n2\n", "")
    assert_clean(ran)
    assert db.rows("select a from s order by 1") == [("x",), ("y",)]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(db: Database, tmp_path: Path, closed: str) -> None:
    """A daemon or a cron job may have no stdin, stdout or stderr; their numbers then go to our own pipes."""
    path = write_rows(tmp_path / "s.xlsx", GOOD)
    command = f'exec "$0" -m importer run "$1" --to "$2" --table s --workers 2 {closed}'
    with started("/bin/sh", "-c", command, sys.executable, str(path), db.dsn.text, cwd=tmp_path) as running:
        ran = running.finish()
    assert ran.code == 0
    assert db.rows("select a from s") == [("x",)]
    assert_clean(ran)


def test_temporary_folder_with_a_long_path(tmp_path: Path) -> None:
    """The path of a socket is short on every system."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    ran = importer("inspect", write_rows(tmp_path / "s.xlsx", GOOD), "--engine", "calamine", env={"TMPDIR": str(long)})
    assert ran.code == 4
    assert ran.err.startswith("importer: workers cannot be started (AF_UNIX path too long)")
    assert "set TMPDIR to a writable folder with a short path" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux lists a process's open files")
def test_resources_are_closed(db: Database, tmp_path: Path) -> None:
    """A run leaves no open pipe, semaphore or socket; pytest turns the warning of any into an error, too."""
    path = write_rows(tmp_path / "s.xlsx", GOOD)
    counts = []
    for _ in range(4):
        import_workbook(path, to=db.dsn.text, table="s", workers=2)
        gc.collect()  # an executor and its threads hold each other
        counts.append(len(os.listdir("/proc/self/fd")))
    assert max(counts[1:]) <= counts[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True).returncode
    ):
        pytest.skip("only root can mount a small disk here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_full_spool_disk(db: Database, big: Path, small_disk: Path) -> None:
    with loading(db, big, "--temp-dir", str(small_disk)) as running:
        ran = running.finish()
    assert ran.code == 4
    assert ran.err.startswith(f"importer: the machine refused: {os.strerror(errno.ENOSPC)}\n  where: {small_disk}")
    assert "--temp-dir" in ran.err
    assert_clean(ran)
    assert list(small_disk.iterdir()) == []
    assert_untouched(db)


def test_spool_disk_full_in_a_worker(db: Database, tmp_path: Path, small_disk: Path) -> None:
    """The cuts of the sheet fit, the texts that a worker writes do not."""
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>{n}</v></c></row>' for n in range(1, 20_000))
    strings = [f"<t>{n:>1000}</t>" for n in range(20_000)]
    path = write_rows(tmp_path / "o.xlsx", rows, strings=strings, name="Orders")
    db.run(f"CREATE TABLE {db.schema}.t (number bigint, name text)", f"INSERT INTO {db.schema}.t VALUES (0, 'before')")
    ran = importer(
        "run", path, "--to", db.dsn.text, "--table", "t", "--temp-dir", small_disk, "--header-row", 0, cwd=tmp_path
    )
    assert ran.code == 4, ran.err
    assert os.strerror(errno.ENOSPC) in ran.err or "cannot write the spool" in ran.err
    assert_clean(ran)
    assert list(small_disk.iterdir()) == []
    assert_untouched(db)
