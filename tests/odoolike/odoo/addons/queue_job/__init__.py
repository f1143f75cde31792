from . import controllers, exception, fields, job
