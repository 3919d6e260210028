from .reports import link_manual as link_manual
from .reports import what_made as what_made
from .style import Markdown as Markdown
from .style import show as show
