"""Workbooks of other formats (.ods, .xls, .xlsb), read by two readers that must agree, written as a plain `.xlsx`.

What follows reads that package like any other; names, addresses and the hash stay those of the original. Each format
has one reader of its own; python-calamine is the other one for all. It imports `formats`, `excel`, `workers` and below.
Begin with `convert` (what a worker does), then `model` (what a reader gives).
"""
