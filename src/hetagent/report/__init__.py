"""``hetagent report``: certificates and run logs as one page that stands by itself."""
