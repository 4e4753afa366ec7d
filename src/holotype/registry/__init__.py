"""Versions of classifiers under a name, which of them is the champion, and every change to that"""
