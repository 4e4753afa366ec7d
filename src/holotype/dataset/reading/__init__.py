"""Folders, tables and file names become sample records."""
