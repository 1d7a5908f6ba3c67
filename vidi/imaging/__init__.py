"""From a film's file to the network's input, and from a map to a picture."""
