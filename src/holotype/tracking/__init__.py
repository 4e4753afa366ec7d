"""Send finished runs to the trackers of a team: an MLflow server over REST, or TensorBoard"""
