"""What can learn from it?"""
