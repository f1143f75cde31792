import json


class JobDecoder(json.JSONDecoder):
    def __init__(self, *args, env, **kwargs):
        super().__init__(*args, object_hook=self._object, **kwargs)
        self.env = env

    def _object(self, found):
        if found.get("_type") != "odoo_recordset":
            return found
        env = self.env(user=found["uid"], su=found.get("su"))
        return env[found["model"]].with_context(**found.get("context", {})).browse(found["ids"])
