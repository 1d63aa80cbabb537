"""What the survey of a new table keeps of the sheets that it read, so that their imports need not read them again.

It imports the plain data of `batch` (`one_import`) and `reading`. Begin with `kept_readings`, which owns the folder and
what it may hold; `saved_sheet` writes and reads one sheet.
"""
