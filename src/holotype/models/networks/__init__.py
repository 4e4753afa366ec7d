"""The networks that are trained from nothing; `build.py` names them."""
