"""How good an image is without a reference: numbers of a scan that a catalog can be sorted by."""
