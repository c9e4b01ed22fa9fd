"""Servers that the cookbook is compared with."""
