"""A folder as an inbox: workbooks are loaded when they are complete, and moved to where their outcome says.

It imports `batch` and what that may import. Begin with `watch` (the story), then `arrivals` (what is complete),
`settle` (what becomes of a file) and `move` (how it gets there).
"""
