"""Cycle formulas of the vertices that poplin plans with, for numbers and for planner columns.

One formula, used by planner and profile alike. Every size may be a number or an array; a result
broadcasts over them. Sizes are those of one tile.
"""
