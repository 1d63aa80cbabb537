"""The tables of runs, chunks and rejects in the target database: what makes an import happen exactly once.

It imports `postgres` and below, and the results of `validation`. Begin with `tables`; `migrations` creates them and
brings old ones up to date, `structure` and `trust` check them, `schema` holds them, `history` lists and removes runs,
`rejects` keeps rejected rows, `locks` maps an import's key to its lock and its staging table.
"""
