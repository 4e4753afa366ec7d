"""Which one is better, and may that be said? Reads predictions; none of it needs torch."""
