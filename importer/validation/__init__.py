"""A window checked against the plan: values, errors, keys, counts.

It imports `plan`, `contract`, `cells` and below. A new constraint is checked in `cells.constraints` and declared in
`contract.field_loader`; `evaluate` applies it. Begin with `check_window`; `conservation` holds the equation that
accounts for every cell.
"""
