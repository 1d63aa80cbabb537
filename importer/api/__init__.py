"""What only callers from Python need: their arguments as files and settings, and messages in their words.

Imports all folders below `pipeline`, and is imported by `importer/__init__` alone. Begin with `arguments`.
"""
