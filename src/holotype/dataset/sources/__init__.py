"""Where data sets come from: synthetic sets, archives, downloads."""
