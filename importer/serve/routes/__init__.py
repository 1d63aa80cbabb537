"""Requests and answers: routes, their options, their models, and the OpenAPI document.

It imports `serve.jobs` and nothing that reads a workbook. Begin with `work` (upload, check, inspect).
"""
