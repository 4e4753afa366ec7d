"""Why does it say so?"""
