"""Plotly figures from tables, one module a study."""
