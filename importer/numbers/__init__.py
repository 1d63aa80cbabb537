"""Numbers as text: the digits that a float does not hold, and numbers that are shown digit by digit.

It imports nothing of this package. Begin with `exact_digits`.
"""
