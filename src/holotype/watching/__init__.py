"""Watch a model in service: the request log against the validation images, and who is told"""
