"""What only callers from Python need: their arguments as files and settings, and messages in their words.

It imports `errors`, `runtime` and what it shows of a report. Only `importer/__init__` and `batch.api`, which are called
from Python, import it. Begin with `arguments`.
"""
