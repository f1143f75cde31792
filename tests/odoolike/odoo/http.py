class Controller:
    pass


def route(*_args, **_kwargs):
    return lambda function: function
