"""The reader of OpenDocument spreadsheets (.ods): one pass over `content.xml`, values from the attributes of its cells.

It imports `conversion.model`, `excel` and below. Begin with `book`.
"""
