"""Exports of finished runs, and the small bundles that are made of large ones."""
