"""Pieces of a workbook that somebody names: ranges of cells, defined names, Excel tables.

It imports `contract` and what `contract` may import. Begin with `piece` (what is read), then `defined_names`.
"""
