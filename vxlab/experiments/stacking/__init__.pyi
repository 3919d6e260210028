from .together import Place as Place
from .together import UnstackableError as UnstackableError
from .together import train_together as train_together
