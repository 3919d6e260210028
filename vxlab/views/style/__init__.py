"""One look for all that is shown: colours, panels, plain text, Markdown, the theme."""
