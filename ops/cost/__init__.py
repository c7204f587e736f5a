"""What classifying images costs: by the templates and counts before the first one, and by the account afterwards."""
