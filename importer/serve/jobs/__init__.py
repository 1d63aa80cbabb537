"""Runs in the service: queue, states, store, uploads, and the child processes that do the work.

It imports `serve.models`, and nothing that reads a workbook. Begin with `queue`, then `registry` and `service_run`.
"""
