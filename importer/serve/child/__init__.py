"""The work of the service, in a process of its own: a crash costs one upload.

It imports the package as any caller does. Begin with `main`, then `load`; `channel` carries commands and events.
"""
