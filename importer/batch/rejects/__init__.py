"""Where the rejects of many imports go: a file each, or one workbook with a sheet for each.

It imports the plain data of `batch` (`import_spec`, `one_import`, `report`) and `report.rejects`. Begin with `names`;
`one_workbook` writes what its imports have packed.
"""
