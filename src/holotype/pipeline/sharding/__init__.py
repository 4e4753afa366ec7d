"""Many images predicted in shards, by jobs on other machines."""
