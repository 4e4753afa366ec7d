"""Serve classifiers over HTTP on one machine; no torch in the process"""
