"""The programs behind the figures; `make bench` runs them."""
