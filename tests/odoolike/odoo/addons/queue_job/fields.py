import json


class JobDecoder(json.JSONDecoder):
    def __init__(self, *args, env, **kwargs):
        super().__init__(*args, object_hook=self._object, **kwargs)
        self.env = env

    def _object(self, item):
        if item.get("_type") != "odoo_recordset":
            return item
        env = self.env(user=item["uid"], su=item.get("su"))
        return env[item["model"]].with_context(**item.get("context", {})).browse(item["ids"])
