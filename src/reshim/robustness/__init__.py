"""What goes wrong between the body and the method, by chance or on purpose, so that it can be measured."""
