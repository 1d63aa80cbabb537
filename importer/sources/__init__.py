"""Where workbooks come from: what paths, patterns and folders name, and which of their sheets are meant.

It imports `excel`, `contract` and what they may import. Begin with `paths`.
"""
