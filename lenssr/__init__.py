"""Super-resolution of strong gravitational lenses that an astronomer can trust."""
