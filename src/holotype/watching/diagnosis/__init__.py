"""What has changed, which kind of change it is, and how right the classifier still is"""
