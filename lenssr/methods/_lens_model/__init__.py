"""Lens model fitted to an image: profiles, pixelated source, potential correction, posterior."""
