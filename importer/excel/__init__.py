"""The file format: zip package, XML parts, workbook, sheets, cell addresses.

A new file format would begin here: `sniff` says what a file is by its first bytes, `package` guards the zip,
`workbook` lists the sheets. It imports `cells` and below. Begin with `workbook`.
"""
