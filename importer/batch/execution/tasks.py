"""Defines the tasks that executors run: plain functions of plain data, whose work a child process does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from importer.batch.one_import import describe
from importer.batch.report import ImportReport, failed_report, not_started_report
from importer.batch.survey import SheetSurvey, survey_sheet
from importer.errors import ImporterError, Interrupted

from .children import ImportProcesses, shared_children
from .elsewhere import refusal

if TYPE_CHECKING:
    from importer.batch.one_import import ImportSet, ImportTask


def run_task(task: ImportTask) -> ImportReport:
    """Run one import in a child process of the process that this is called in."""
    refused = refusal(task)
    return failed_report(task.spec, refused) if refused else run_in_child(shared_children(), task)


def survey_task(task: ImportTask) -> SheetSurvey | dict[str, Any]:
    """Survey one sheet in a child process of the process that this is called in; return the survey, or its error."""
    return refusal(task) or survey_in_child(shared_children(), task)


def stop_batch(batch: str) -> list[int]:
    """Stop the imports of a command that this process runs for it; return their numbers."""
    return shared_children().interrupt(batch)


def run_in_child(children: ImportProcesses, task: ImportTask) -> ImportReport:
    """Run one import in a child process."""
    try:
        with children.child(task) as child:
            return ImportReport.from_dict(child.ask("run", task))
    except Interrupted:
        return not_started_report(task.spec)
    except (ImporterError, OSError) as exc:
        return failed_report(task.spec, describe(exc))


def run_together_in_child(children: ImportProcesses, given: ImportSet) -> list[ImportReport]:
    """Run imports that are published as one in a child process."""
    try:
        with children.child(given.tasks[0]) as child:
            return [ImportReport.from_dict(answer) for answer in child.ask_together(given)]
    except Interrupted:
        return [not_started_report(task.spec) for task in given.tasks]
    except (ImporterError, OSError) as exc:
        return [failed_report(task.spec, describe(exc)) for task in given.tasks]


def survey_in_child(children: ImportProcesses, task: ImportTask) -> SheetSurvey | dict[str, Any]:
    """Survey one sheet in a child process; return the survey, or its error."""
    try:
        with children.child(task) as child:
            answer = child.ask("survey", task)
    except (ImporterError, OSError) as exc:
        return describe(exc)
    return SheetSurvey.from_dict(answer["survey"]) if "survey" in answer else dict(answer["error"])


def survey_here(task: ImportTask) -> SheetSurvey | dict[str, Any]:
    """Survey one sheet in this process; return the survey, or its error."""
    try:
        return survey_sheet(task)
    except (ImporterError, OSError) as exc:
        return describe(exc)
