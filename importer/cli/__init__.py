"""The command line: commands, options, exit codes, and what is shown on a terminal.

A command parses its options, calls one function of the package and renders what comes back; the only place that
imports `rich`. It imports everything below; nothing imports it but `__main__`. Begin with `commands`, then
`exits`; the exit code of each error is in `errors`.
"""
