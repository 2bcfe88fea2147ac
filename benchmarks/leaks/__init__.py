"""Whether any private value is in what is written: a search of bytes after real calls."""
