"""How many imports run: in what order, side by side, by whose executor, each in a child process.

It imports the plain data of `batch` (`import_spec`, `one_import`, `report`, `survey`). Begin with `schedule`, then
`tasks` and `children`; `child` is the other end; `together` runs those that are published as one.
"""
