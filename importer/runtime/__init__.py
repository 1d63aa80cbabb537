"""Deadlines, retries, interruptible calls, progress, output files: what any program needs, and nothing of ours.

It imports only `settings` and `errors`. Begin with `progress` and `retry`.
"""
