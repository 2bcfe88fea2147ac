"""One module for each system that is measured; each imports only that system and `serve`."""
