from ..sql_db import Cursor

_registries = {}


class Registry:
    """The registry of a database; each database has one."""

    def __new__(cls, database):
        if database not in _registries:
            _registries[database] = super().__new__(cls)
            _registries[database].db_name = database
            _registries[database].loaded = True
        return _registries[database]

    registries = _registries
    _init_modules = {"base", "queue_job"}

    def cursor(self, **_kwargs):
        return Cursor(self.db_name)

    def check_signaling(self):
        return self

    def signal_changes(self):
        pass

    def reset_changes(self):
        pass

    def clear_cache(self):
        pass

    def clear_all_caches(self):
        pass

    def in_test_mode(self):
        return False

    def __contains__(self, name):
        from ..models import MODELS

        return name in MODELS

    def __getitem__(self, name):
        from ..models import MODELS

        return MODELS[name]
