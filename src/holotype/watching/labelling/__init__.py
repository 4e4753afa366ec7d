"""Label next: which logged images a person should label, and the labels that came back"""
