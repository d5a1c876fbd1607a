"""How work is split over tiles: candidates as arrays, costed with the codelets' own formulas."""
