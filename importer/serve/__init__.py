"""Owns the service: uploads over HTTP, and the page to do them on; `importer serve` starts it.

The service itself reads no workbook. Every import, check and inspection is the work of a child process (`child`), so
that a crash, a kill or a blow-up of memory costs the upload that caused it and nothing else.
"""
