from . import model, server
