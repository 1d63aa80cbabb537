"""The run report, and, in `rejects`, the rows that were not loaded.

It imports the results of `validation`, `plan` and `run`. Begin with `model`; `build` makes a report.
"""
