"""The parent's half of each stage of a run, and the functions that workers run.

It imports everything below `pipeline`. Begin with `read`, `validate` and `load` in the order of the story;
`stream` does all three at once for a large sheet, `worker` is the other half, `tasks` what travels between.
"""
