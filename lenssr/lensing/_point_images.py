"""
Images of a lensed point source: positions and magnifications.

The solver of lenstronomy takes random steps where it does not converge, and may find other images
of the same source in another run.
"""

import numpy as np

DERIVATIVE_STEP = 1e-5   # arcsec, of the finite differences of the deflection
POSITION_ACCURACY = 1e-8  # arcsec: Newton's iteration stops at a step of this length
MAX_ITERATIONS = 20
MIN_RELATIVE_MAGNIFICATION = 1e-2  # fainter images, such as one per point mass, are dropped
MAX_MAGNIFICATION = 50.0  # bound for a point source on a caustic


def quasar_points(scene, ray_shooting, grid, beta):
    """
    Images of the quasar of a scene as ``[(x, y, flux)]`` (arcsec), by decreasing magnification.

    ``ray_shooting(x, y)`` returns positions in the source plane (arcsec); ``beta`` holds them for
    the pixels of ``grid``, two arrays ``(n, n)``.
    """
    quasar = scene.quasar
    x, y, magnification = image_positions(ray_shooting, grid, beta, quasar["x"], quasar["y"])
    magnification = np.minimum(np.abs(magnification), MAX_MAGNIFICATION)
    order = np.argsort(-magnification)[: len(quasar["flicker"])]
    order = order[magnification[order]
                  > MIN_RELATIVE_MAGNIFICATION * magnification.max(initial=0)]
    flux = quasar["flux"] * magnification[order] * 10 ** (-0.4 * quasar["flicker"][: len(order)])
    return [(float(a), float(b), float(f)) for a, b, f in zip(x[order], y[order], flux)]


def image_positions(ray_shooting, grid, beta, x_source, y_source):
    """
    Solve the lens equation for a point: positions (arcsec) and signed magnifications.

    Each square of four pixels is two triangles, which the lens maps into the source plane. Where
    one contains the source, Newton's method starts (Keeton, arXiv:astro-ph/0102340). Two images
    closer than a pixel may be missed.
    """
    source = np.array([x_source, y_source])
    start = np.concatenate(list(_triangle_candidates(grid, beta, source)))
    # Undefined on a point mass and at the centre of a singular lens.
    with np.errstate(invalid="ignore", divide="ignore"):
        positions, magnification = _refine(ray_shooting, start, source, grid.pixel)
    return positions[:, 0], positions[:, 1], magnification


def _triangle_candidates(grid, beta, source):
    """Positions ``(k, 2)`` in the triangles that contain the source, for both triangle types."""
    axis = (np.arange(grid.n) - (grid.n - 1) / 2) * grid.pixel
    offset = np.stack([np.asarray(beta[0], float) - source[0],
                       np.asarray(beta[1], float) - source[1]])
    low, high = slice(None, -1), slice(1, None)
    for corners in (((low, low), (low, high), (high, low)),
                    ((high, high), (high, low), (low, high))):
        b = [offset[:, i, j] for i, j in corners]
        # Twice the areas of the triangles of the source and each side.
        areas = np.stack([b[1][0] * b[2][1] - b[1][1] * b[2][0],
                          b[2][0] * b[0][1] - b[2][1] * b[0][0],
                          b[0][0] * b[1][1] - b[0][1] * b[1][0]])
        inside = (areas >= 0).all(axis=0) | (areas <= 0).all(axis=0)
        inside &= areas.any(axis=0)
        row, column = np.nonzero(inside)
        weight = areas[:, row, column]
        weight = weight / weight.sum(axis=0)
        # Barycentric weights in the source plane, applied in the image plane.
        shift = [(0 if i is low else 1, 0 if j is low else 1) for i, j in corners]
        y = sum(w * axis[row + s[0]] for w, s in zip(weight, shift))
        x = sum(w * axis[column + s[1]] for w, s in zip(weight, shift))
        yield np.stack([x, y], axis=1)


def _ray_jacobian(ray_shooting, positions):
    """Source-plane positions of rays from ``positions`` ``(k, 2)``, and their Jacobian."""
    around = [np.zeros(2),
              *(sign * DERIVATIVE_STEP * axis for axis in np.eye(2) for sign in (1, -1))]
    x, y = np.concatenate([positions + offset for offset in around]).T
    beta = np.stack(ray_shooting(x, y), axis=-1).reshape(5, -1, 2)
    jacobian = np.stack([beta[1] - beta[2], beta[3] - beta[4]], axis=-1) / (2 * DERIVATIVE_STEP)
    return beta[0], jacobian


def _refine(ray_shooting, positions, source, max_step):
    """Apply Newton's method to all positions at once; return distinct converged images."""
    moving = np.ones(len(positions), bool)
    for _ in range(MAX_ITERATIONS):
        if not moving.any():
            break
        beta, jacobian = _ray_jacobian(ray_shooting, positions[moving])
        # Where the Jacobian is singular, as in the centre of a lens, no step is taken.
        regular = np.abs(np.linalg.det(jacobian)) > 1e-12
        step = np.zeros_like(beta)
        step[regular] = np.linalg.solve(
            jacobian[regular], (source - beta)[regular][..., None])[..., 0]
        length = np.hypot(*step.T)
        positions[moving] += step * np.minimum(1, max_step / np.maximum(length, 1e-12))[:, None]
        moving[moving] = length > POSITION_ACCURACY
    images = []
    for position in positions[~moving]:
        if all(np.hypot(*(position - image)) > 1e-3 for image in images):
            images.append(position)
    images = np.array(images).reshape(-1, 2)
    beta, jacobian = _ray_jacobian(ray_shooting, images)
    solved = (np.abs(beta - source) < 1e-6).all(axis=1)
    return images[solved], 1 / np.linalg.det(jacobian[solved])
