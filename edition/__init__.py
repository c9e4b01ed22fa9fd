"""The public edition: the pages as plain files, for any static host."""
