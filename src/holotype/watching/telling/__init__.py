"""Who is told of an alarm and of all clear: the page, Prometheus, a webhook, e-mail"""
