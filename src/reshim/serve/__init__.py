"""Reconstruction at the scanner: k-space comes in over a socket, images go back.

`messages` is the ISMRMRD streaming protocol, `session` makes images of what one connection sends, `server`
listens.
"""
