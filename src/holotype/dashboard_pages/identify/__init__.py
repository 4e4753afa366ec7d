"""Who is this? Galleries of individuals: ask, confirm, name somebody new, see the history."""
