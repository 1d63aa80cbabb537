"""A window's XML decoded into columns; the only place that calls the Excel engine.

It finds the tags of a window, has the engine read its cells, tells their kinds apart, and parses the shared
strings once for all workers. It imports `formats`, `footer`, `excel`, `cells` and below. Begin with `tasks`, then
`engine` and `tag_scan`.
"""
