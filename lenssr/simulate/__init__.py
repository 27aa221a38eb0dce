"""Simulated pairs of high- and low-resolution images of strong lenses."""

from lenssr._lazy import lazy_exports

__all__ = ["Defects", "Grid", "INSTRUMENTS", "Instrument", "LensPair", "LensPlane", "PRESETS",
           "PairStream", "Population", "RandomField", "SUBSTRUCTURES", "Subhalos", "Substructure",
           "Vortex", "VortexLine", "critical_surface_density", "einstein_radius", "open_catalog",
           "pair_observations", "point_mass_einstein_radius", "render", "render_batch",
           "simulate_catalog", "simulate_observation", "simulate_pair", "write_pairs"]

_PUBLIC = {
    "._catalog": ["simulate_catalog"],
    "._catalog_read": ["open_catalog"],
    "._cosmology": [
        "LensPlane", "critical_surface_density", "einstein_radius",
        "point_mass_einstein_radius"],
    "._defects": ["Defects"],
    "._instrument": ["Instrument"],
    "._instruments": ["INSTRUMENTS"],
    "._layouts": ["write_pairs"],
    "._observations": ["pair_observations"],
    "._pair": ["simulate_pair"],
    "._population": ["Population"],
    "._presets": ["PRESETS"],
    "._random_field": ["RandomField"],
    "._reobserve": ["simulate_observation"],
    "._scene": ["Grid", "render"],
    "._stream": ["PairStream"],
    "._subhalos": ["Subhalos"],
    "._substructure": ["SUBSTRUCTURES", "Substructure"],
    "._torch_scene": ["render_batch"],
    "._vortex": ["Vortex", "VortexLine"],
    "lenssr._pair": ["LensPair"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._catalog_chunk": ["CHUNK_SIZE"],
    "._catalog_read": ["Catalog"],
    "._draws": ["BatchDraws", "SeriesDraws"],
    "._given": ["GivenSeries"],
    "._model": ["SceneModel"],
    "._observe": ["kernel_neighbour_correlation", "observe_batch"],
    "._optics": ["Optics", "PSF_REACH"],
    "._presets": ["find_preset"],
    "._scene": ["ray_shooting"],
    "._series": ["PairSeries", "SUBPIXELS", "draw_model"],
    "._subhalos": ["truncated_nfw"],
    "._substructure": ["parse_substructure"],
}

__getattr__, __dir__ = lazy_exports(
    __name__, {m: [*_PUBLIC.get(m, ()), *_INTERNAL.get(m, ())] for m in {**_PUBLIC, **_INTERNAL}})
