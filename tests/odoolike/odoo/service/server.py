def load_server_wide_modules():
    from .. import addons
