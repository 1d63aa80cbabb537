"""What the service answers, and what it and its children send each other, each declared once as a pydantic model.

`error`, `workbook`, `run` and `service` hold the answers to requests, `events` the server-sent events, `child` the
commands to a child process and its events. It imports nothing else of the package. Begin with `run`.
"""
