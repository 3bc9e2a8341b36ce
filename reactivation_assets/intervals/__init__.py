"""How often people come, month by month: gaps between visits, and the intervals they teach the rules."""
