"""The console: an environment in the operator's own browser, with the operator's own credentials."""
