"""Number formats: what the style of a cell says that its number is, and how the number is shown.

A date is a number with a date format; nothing else tells the two apart. It imports `excel`, `cells` and below. Begin
with `styles`, then `number_format` and `tokens`.
"""
