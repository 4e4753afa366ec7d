"""The steps of one training, from the audit to the report."""
