"""A package that is none of ours, with a part of each kind; tests build a wheel of its one module.

It imports what anybody may: nothing of the tests.
"""
