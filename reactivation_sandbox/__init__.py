"""A pretend town of salons: real HTTP servers that speak the outside world's protocols."""
