"""A window checked against the plan: verdict for each cell, errors, keys, counts.

It imports `plan`, `contract`, `cells` and below. A new rule is checked in `evaluate`. Begin with `check_window`;
`conservation` holds the equation that accounts for every cell.
"""
