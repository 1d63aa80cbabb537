"""Table Schema contracts: the model, and loading one from JSON, YAML or TOML.

It imports `cells` (a field is what a contract says of one column's values) and below; never `reading`. Begin with
`model`; `loader` reads a descriptor, `field_loader` one of its fields, `descriptor_checks` says what is wrong with
it.
"""
