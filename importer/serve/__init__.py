"""Serves uploads over HTTP and the web page for them; started by `importer serve`.

The service itself reads no workbook. Every import, check and inspection runs in a child process (see `child`), so that
a crash, a kill or excessive memory use fails only the upload that caused it.
"""
