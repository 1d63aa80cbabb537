"""The file format: zip package, XML parts, workbook, sheets, cell addresses.

A new file format would begin here: `sniff` refuses what is no zip by its first bytes, `workbook` refuses zips that are
no workbook and lists the sheets, `package` guards the zip; cells are read in `decoding.engine`. It imports `cells` and
below. Begin with `workbook`.
"""
