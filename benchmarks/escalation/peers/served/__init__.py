"""Run inside a peer's virtual environment: each imports only that peer and `serve`."""
