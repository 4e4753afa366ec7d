"""Try it: what classifiers say of images that a visitor sends."""
