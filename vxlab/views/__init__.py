"""What a reader sees: figures of tables, explorers, pages of executed notebooks, and files to keep."""

from vxlab.progress import in_live_notebook

if in_live_notebook():  # where plotly shows a figure, and nowhere else
    from vxlab.views.style.renderer import show_themed

    show_themed()
