from .faces import live_run as live_run
