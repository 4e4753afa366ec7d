"""Find near-duplicates: copies of one image that differ in their bytes.

Other packages import from `search` alone: `find_near_duplicates` and its result types; and
`identification` the registration of pairs, from `registration`. An import-linter contract in
pyproject.toml holds that.
"""
