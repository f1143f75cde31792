def load_server_wide_modules():
    from ..addons import queue_job
