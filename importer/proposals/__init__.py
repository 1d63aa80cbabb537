"""Proposes what the texts of a column are: numbers, dates, times, booleans, missing values.

A proposal is a field of a contract that converts every text of the column, or none is made: what it says was tried on
all of them. Imports `contract`, `reading` and below. Begin with `columns`.
"""
