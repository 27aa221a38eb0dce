"""Models of lenses and their fits to images: in torch, imported when a fit is asked for."""
