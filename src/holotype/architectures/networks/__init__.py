"""Networks without published weights, trained from random ones."""
