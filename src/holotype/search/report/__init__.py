"""The report of a search: its figures and its page."""
