"""Models: everything that completes a request, and the catalogue of small ones."""
