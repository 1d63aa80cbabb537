"""A window's cells decoded by us, in columns: whole arrays at a time, from the positions of the XML's tags.

What is written too oddly for that goes to the engine, cell by cell. It imports `decoding`, `excel`, `cells` and below.
Begin with `decode`, which is the story; `cell_tags` and `attributes` say what is taken as a cell.
"""
