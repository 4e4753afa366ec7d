"""Decoding and inference in worker processes, behind one bounded queue"""
