"""The rows that were not loaded: as a file that a person fixes, in the ledger, and as a list of bad cells.

It imports what `report` may import, and is the only place that imports `xlsxwriter`. Begin with `files` (where a run
writes its rejects, and when), then `workbook` (what is written) and `kept` (what the ledger keeps).
"""
