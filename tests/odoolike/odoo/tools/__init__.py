import configparser


class _Config(dict):
    def parse_config(self, arguments, setup_logging=True):
        file = arguments[arguments.index("-c") + 1]
        parser = configparser.RawConfigParser()
        parser.read(file)
        self.update(
            db_host="", db_port="", db_user="", db_password="", server_wide_modules="base,web,queue_job"
        )
        self.update(parser["options"], test_enable=False, config=file)


config = _Config()


def ustr(text, **_kwargs):
    return str(text)
