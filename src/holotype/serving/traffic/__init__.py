"""Which version answers: exchanged, compared and rolled out while requests go on"""
