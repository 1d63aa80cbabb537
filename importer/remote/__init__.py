"""Files at addresses (`s3://…`, `https://…`): fetched once into a folder, whole and of one version, and written there.

It imports `runtime` and what is below. Begin with `fetch`, then `reader` (what is read in which way), `web` (web
servers, by the standard library), `filesystems` (all others, by fsspec), `listing` (patterns and folders) and `upload`.
"""
