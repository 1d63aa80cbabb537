"""From a sheet to windows to frames: cutting, reading one window, the header, cell addresses.

It imports `decoding`, `table`, `excel`, `cells` and below. Begin with `windows` (how a sheet is cut), `read_window`
(what a worker does with one) and `sheet_source` (what is known of a sheet that was read).
"""
