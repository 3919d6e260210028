"""Files that a reader asks for: tables as CSV, figures as PNG or SVG."""
