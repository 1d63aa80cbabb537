"""Where the table is in its sheet: header rows, data rows, named pieces.

It imports `excel`, `cells` and below, and never `reading`. Begin with `header_rows` (which rows are the
header), then `evidence` (what speaks for and against a row) and `grid` (the cells that both look at).
"""
