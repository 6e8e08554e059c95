"""Files of other tools: writers of reconstructions and readers of what people have."""
