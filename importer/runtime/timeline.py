"""Draws the timeline of a run, what every process did when, or writes it as a trace for other programs."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from .output_file import FileIdentity, output_file
from .stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_WIDTH, _LEFT, _ROW, _BAR, _TOP = 1000, 96, 30, 20, 56
#: The chart names stages by their values, which are the keys of the report's `timings`.
_COLOURS: dict[str, str] = {
    Stage.OPEN: "#8c959f", Stage.UNPACK: "#8c959f", Stage.PLAN: "#8c959f", Stage.REJECTS: "#8c959f",
    Stage.READ: "#1f6feb", Stage.LOAD: "#0a7ea4", Stage.VALIDATE: "#1a7f37", Stage.WRITE: "#bf8700",
    Stage.VERIFY: "#8250df", Stage.PUBLISH: "#cf222e",
}  # fmt: skip
#: The stages that tasks of the cutter and the workers belong to; `strings` is part of reading, but shown apart.
_TASK_STAGES: dict[str, str] = {
    "cut": Stage.UNPACK,
    "read_window": Stage.READ,
    "check_window": Stage.VALIDATE,
    "write_chunk": Stage.WRITE,
    "load_window": Stage.LOAD,
    "parse_strings": "strings",
}
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}.axis{stroke:#d0d7de}svg{background:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{stroke:#3d444d}svg{background:#0d1117}}"
)


class Span(NamedTuple):
    """An interval in which one lane did one thing.

    Attributes:
        lane: line of the chart (`run`, `cutter`, `worker 1`).
        name: name of the stage or task.
        began: start, in seconds on the monotonic clock, which all processes of a machine share.
        ended: end, on the same clock.
    """

    lane: str
    name: str
    began: float
    ended: float

    @property
    def stage(self) -> str:
        """The stage that the span belongs to."""
        return _TASK_STAGES.get(self.name, self.name)


def write_timeline(path: Path, spans: Iterable[Span], title: str, known: FileIdentity | None = None) -> Path:
    """Write a chart of the spans as `.svg`, as an `.html` page that contains it, or the spans as a `.json` trace.

    Args:
        path: the file's name; if another file than the known one has it, the next free number is taken.
        spans: what was done, and when.
        title: title of the chart.
        known: the file that is replaced, or None.

    Returns:
        The path of the file.

    Raises:
        OSError: the file cannot be written.
    """
    kind, shown = path.suffix.lower(), list(spans)
    text = json.dumps(make_trace(shown, title)) if kind == ".json" else draw(shown, title)
    if kind == ".html":
        text = f'<!doctype html><meta charset="utf-8"><title>{escape(title)}</title>{text}'
    with output_file(path, known) as made:
        made.file.write(text.encode("utf-8", "replace"))
        made.finish()
        return made.place()


def make_trace(spans: list[Span], title: str) -> dict[str, Any]:
    """Return the spans in the Trace Event Format, which chrome://tracing and Perfetto show: a thread for each lane.

    Times are in microseconds since the first span began.
    """
    lanes = {lane: number for number, lane in enumerate(_lanes(spans))}
    start = min((span.began for span in spans), default=0.0)
    events: list[dict[str, Any]] = [_metadata("process_name", 0, name=title)]
    for lane, number in lanes.items():
        events.append(_metadata("thread_name", number, name=lane))
        events.append(_metadata("thread_sort_index", number, sort_index=number))
    events += [
        {
            "ph": "X", "name": span.name, "cat": span.stage, "pid": 1, "tid": lanes[span.lane],
            "ts": round((span.began - start) * 1e6, 3), "dur": round((span.ended - span.began) * 1e6, 3),
        }
        for span in spans
    ]  # fmt: skip
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _metadata(kind: str, thread: int, **args: str | int) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": 1, "tid": thread, "args": args}


def draw(spans: list[Span], title: str) -> str:
    """Return the chart as SVG: a line for each lane, a bar for each span, with the details as its tooltip."""
    lanes = _lanes(spans)
    start = min((span.began for span in spans), default=0.0)
    seconds = max((span.ended for span in spans), default=start) - start or 1.0
    scale = (_WIDTH - _LEFT - 16) / seconds
    height = _TOP + _ROW * len(lanes) + 28
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<text x="8" y="20" font-weight="600">{escape(title)}</text>',
        *_legend(spans),
        *_axis(seconds, scale, height),
    ]
    for number, lane in enumerate(lanes):
        y = _TOP + number * _ROW
        parts.append(f'<text x="8" y="{y + 15}">{escape(lane)}</text>')
        parts += [_bar(span, start, scale, y) for span in spans if span.lane == lane]
    return "".join([*parts, "</svg>"])


def _lanes(spans: list[Span]) -> list[str]:
    return sorted({span.lane for span in spans}, key=_lane_order)


def _lane_order(lane: str) -> tuple[int, int, str]:
    word, _, number = lane.partition(" ")
    return ["run", "cutter", "worker"].index(word) if word in {"run", "cutter", "worker"} else 3, int(number or 0), lane


def _bar(span: Span, start: float, scale: float, y: int) -> str:
    took = span.ended - span.began
    title = f"{span.stage}: {took * 1000:.0f} ms, from {span.began - start:.3f} s"
    return (
        f'<rect x="{_LEFT + (span.began - start) * scale:.2f}" y="{y}" width="{max(took * scale, 0.5):.2f}" '
        f'height="{_BAR}" fill="{_COLOURS.get(span.stage, "#57606a")}"><title>{escape(title)}</title></rect>'
    )


def _legend(spans: list[Span]) -> list[str]:
    found = [stage for stage in _COLOURS if any(span.stage == stage for span in spans)]
    parts = []
    for number, stage in enumerate(found):
        x = _LEFT + number * 86
        parts.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{_COLOURS[stage]}"/>')
        parts.append(f'<text x="{x + 14}" y="40">{stage}</text>')
    return parts


def _axis(seconds: float, scale: float, height: int) -> list[str]:
    """Return grid lines at round seconds, about ten of them."""
    step = next((s for e in range(-3, 6) for s in (10**e, 2 * 10**e, 5 * 10**e) if seconds / s <= 10), seconds)  # noqa: PLR2004
    parts = []
    for number in range(int(seconds / step) + 1):
        x = _LEFT + number * step * scale
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{height - 20}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{number * step:g} s</text>')
    return parts
