"""Simulated pairs of high- and low-resolution images of strong lenses."""

from lenssr._lazy import lazy_exports

_PUBLIC = {
    "._catalog": ["open_catalog", "simulate_catalog"],
    "._catalog_formats": ["write_pairs"],
    "._cosmology": [
        "LensPlane", "critical_surface_density", "einstein_radius",
        "point_mass_einstein_radius"],
    "._instrument": ["Defects", "INSTRUMENTS", "Instrument"],
    "._observations": ["pair_observations"],
    "._pair": ["simulate_pair"],
    "._population": ["Population"],
    "._presets": ["PRESETS"],
    "._scene": ["Grid", "render"],
    "._series": ["PairStream"],
    "._simulate_observation": ["simulate_observation"],
    "._substructure": ["SUBSTRUCTURES", "Substructure"],
    "._substructure_priors": ["RandomField", "Subhalos", "Vortex", "VortexLine"],
    "._torch_scene": ["render_batch"],
    "lenssr._pair": ["LensPair"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._catalog": ["DamagedChunk"],
    "._observe": [
        "BatchRandom", "Optics", "PSF_RADIUS", "SeriesRandom", "correlate_noise",
        "kernel_neighbour_correlation", "moffat", "observe_batch"],
    "._pair": ["SceneSeries", "make_ccd"],
    "._population": ["SCENE_TYPES", "SceneModel", "sersic_parameters"],
    "._presets": ["find_preset"],
    "._scene": ["lines_as_points", "ray_shooting"],
    "._series": ["PairSeries", "SUBPIXELS", "draw_model"],
    "._substructure": ["CLASSES", "add_substructure", "parse_substructure"],
    "._substructure_priors": ["truncated_nfw"],
    "._torch_scene": ["shoot_rays_batch"],
}

__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC, _INTERNAL)
