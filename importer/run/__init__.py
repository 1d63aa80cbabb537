"""Exactly once: the lock on an import, its key, and how a dead run's work is taken over.

It imports `load`, `ledger` and below. Begin with `lease` and `lease_holder`, then `import_lock`, `staging_state`,
`recovery` and `outcome`; `import_key` says what makes two runs the same import, `reload` why a published one is loaded
again.
"""
