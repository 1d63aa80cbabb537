"""What stands before every request: access, limits on heads and bodies, the page's files.

It imports nothing that reads a workbook. Begin with `access`.
"""
