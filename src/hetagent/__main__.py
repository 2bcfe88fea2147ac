"""``python -m hetagent``."""

from hetagent.cli import main

main()
