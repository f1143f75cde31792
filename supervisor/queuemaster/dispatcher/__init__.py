"""The process that decides who may start what."""
