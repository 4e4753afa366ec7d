"""The API: endpoints, request limits, keys, metrics"""
