"""What a cell is in memory, and what it can mean.

Frames hold one array for each column and kind; here are their layout, their text forms, the spool they travel in,
the facts counted about columns, and the conversion of cells into values of a contract's field types, with its
constraints. It imports only `numbers` and `errors`. Begin with `frame`, then `convert`.
"""
