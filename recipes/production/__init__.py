"""The second files: the same answers for those who go live."""
