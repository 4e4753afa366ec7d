"""Remove runs, trials, caches and leftovers that nothing refers to"""
