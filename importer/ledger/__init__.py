"""The tables of runs and chunks in the target database: what makes an import happen exactly once.

It imports `postgres` and below, and the results of `validation`. Begin with `tables`; `migrations` creates them and
brings old ones up to date, `structure` and `trust` check them, `schema` holds them, `history` lists and removes runs,
`locks` maps an import's key to its lock and its staging table.
"""
