"""Which column of the sheet goes where, in which PostgreSQL type.

It imports `contract`, `reading`, `postgres` and below. Begin with `model`; `make_plan` makes a plan, `target`
finds the table and the types of its columns, `infer` decides types from all rows where no contract says them.
"""
