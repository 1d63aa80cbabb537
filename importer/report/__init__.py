"""The run report, and the file of rejected rows.

It imports the results of `validation`, `plan` and `run`, and is the only place that imports `xlsxwriter`. Begin
with `model`; `build` makes a report, `rejects_file` decides where the rejects go, `rejects_workbook` writes them.
"""
