"""The bundled demonstration: three skills over the messages a restaurant gets."""
