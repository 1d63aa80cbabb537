"""Many imports by one command: which sheets go into which tables, in what order, side by side in child processes.

It imports `pipeline`, `inspection` and what they may import. Begin with `many`, then `import_spec` (the unit of all of
this), `expand` (from sources to imports), `agreed_types` and `schedule`.
"""
