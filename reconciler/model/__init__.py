"""The nouns, frozen. Nothing here reads a file, a clock or the network."""
