"""Verification: checksums of the rows that were read and of those that the server holds, and their comparison.

It imports `cells`, `postgres` and what is below them, and knows nothing of workbooks or contracts. Begin with `verify`.
"""
