"""A window checked against the plan: each cell checked, errors, keys, counts.

It imports `plan`, `contract`, `cells` and below. A new rule is checked in `evaluate`. Begin with `check_window`;
`conservation` holds the equation that accounts for every cell.
"""
