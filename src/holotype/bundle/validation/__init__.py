"""What a bundle may keep of the images of validation, for watching it in service."""
