"""The real MetaGPT, recorded through the gateway; see `__main__`."""
