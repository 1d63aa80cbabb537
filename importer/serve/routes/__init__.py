"""Requests and answers: routes, their options, and the OpenAPI document.

It imports `serve.jobs` and `serve.models`, nothing that reads a workbook. Begin with `work` (upload, check, inspect).
"""
