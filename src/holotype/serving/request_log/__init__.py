"""What was answered, one row an image: written beside the answers, read by whoever watches"""
