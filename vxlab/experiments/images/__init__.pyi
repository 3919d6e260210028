from .check import ImageCheck as ImageCheck
from .check import inspect_images as inspect_images
from .decode import decode_image as decode_image
from .opened import open_image as open_image
from .preparation import Preparation as Preparation
from .reader import ImageReader as ImageReader
from .source import ImageSource as ImageSource
