"""Text files (CSV, TSV): their encoding and dialect, their records with true line numbers, their fields as columns.

It imports `footer`, `table`, `excel`, `decoding`, `cells` and below, and never `reading`. Begin with `open_text` (what
is decided about a file), then `records` (how it is cut into windows) and `read_text` (what a worker does with one).
"""
