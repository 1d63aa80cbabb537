"""Deadlines, retries, interruptible calls, progress, output files: what any program needs, and nothing of ours.

It imports only `errors`. Begin with `progress` and `retry`.
"""
