"""Rows below a table, and between its groups, that are no data: totals, remarks; left out only if that is certain.

It imports `table`, `cells` and below. Begin with `footer` (which rows), then `totals` and `remarks` (what is certain).
"""
