"""The parent's half of each stage of a run, and the functions that workers run.

It imports everything below `pipeline`. Begin with `read`, `validate`, `load` and `commit` in the order of the story;
for a large sheet `streamed_load` does the first three at once, if `stream` decides so. `worker` is the other half,
`tasks` what travels between.
"""
