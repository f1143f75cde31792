import contextlib


class Environment:
    def __init__(self, cr, uid, context, su=False):
        self.cr, self.uid, self.context, self.su = cr, uid, dict(context), su or uid == 1

    @staticmethod
    @contextlib.contextmanager
    def manage():
        """As up to Odoo 14."""
        yield

    @property
    def registry(self):
        from .modules.registry import Registry

        return Registry(self.cr.dbname)

    def __call__(self, cr=None, user=None, context=None, su=None):
        return Environment(
            cr or self.cr, self.uid if user is None else user, self.context if context is None else context,
            self.su if su is None else su,
        )  # fmt: skip

    def __getitem__(self, name):
        from .models import MODELS

        return MODELS[name](self, ())

    def __contains__(self, name):
        from .models import MODELS

        return name in MODELS

    def flush_all(self):
        pass

    def clear(self):
        pass

    def invalidate_all(self, **_kwargs):
        pass
