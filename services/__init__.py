"""The services of the city, one folder each; none imports another."""
