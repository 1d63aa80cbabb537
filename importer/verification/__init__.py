"""Verification: checksums of the rows that were read and of those that the server holds, and their comparison.

It imports `postgres` and what is below that, and knows nothing of workbooks or contracts. Begin with `verify`.
"""
