"""What each recipe costs, beside what a reader would write or use instead.

A module is named after its recipe, and has its `COMPARISONS`, by their names.
"""
