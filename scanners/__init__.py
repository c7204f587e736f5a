"""Public scanners over the templates of every environment: `make scan`, or `python -m scanners`."""
