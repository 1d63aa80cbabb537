"""The database: sessions, types, catalog, encodings, poolers, the embedded server.

`session` is the only module that imports ADBC. It imports `runtime`, `settings` and `errors`, and knows nothing of
workbooks. Begin with `session`, then `catalog`.
"""
