from .decode import decode_image as decode_image
from .preparation import Preparation as Preparation
from .reader import ImageReader as ImageReader
from .source import ImageSource as ImageSource
