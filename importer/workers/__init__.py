"""Processes: pool, fork server, limits, results. It knows no task of ours.

It imports only `runtime`, `settings` and `errors`; a function that runs in a worker is named by `remote`. Begin
with `pool`; a worker's memory limit is set in `memory_limit`.
"""
