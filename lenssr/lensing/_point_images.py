"""
Images of a lensed point source: where the lens equation holds, and how bright it is there.

lenstronomy's solver steps at random where it does not converge, and finds other images of the same
source in another run.
"""

import numpy as np

DIFFERENCE_STEP = 1e-5  # arcsec, of finite differences of the deflection
NEWTON_TOLERANCE = 1e-8  # arcsec, length of the last Newton step
MAX_NEWTON_STEPS = 20
MIN_FLUX_RATIO = 1e-2  # to the brightest image; point masses make many fainter images
MAX_MAGNIFICATION = 50.0  # a point on a caustic has an infinite magnification


def quasar_points(scene, shoot, grid, beta):
    """Images of the quasar of a scene."""
    quasar = scene.quasar
    x, y, magnification = image_positions(shoot, grid, beta, quasar["x"], quasar["y"])
    magnification = np.minimum(np.abs(magnification), MAX_MAGNIFICATION)
    order = np.argsort(-magnification)[: len(quasar["flicker"])]
    order = order[magnification[order] > MIN_FLUX_RATIO * magnification.max(initial=0)]
    flux = quasar["flux"] * magnification[order] * 10 ** (-0.4 * quasar["flicker"][: len(order)])
    return [(float(a), float(b), float(f)) for a, b, f in zip(x[order], y[order], flux)]


def image_positions(shoot, grid, beta, x_source, y_source):
    """
    Solve the lens equation for a point.

    Every square between four pixels of the grid is two triangles, which the lens maps into the
    source plane: where one holds the source, an image is near, and Newton's steps find it (as in
    Keeton, arXiv:astro-ph/0102340). Two images closer than a pixel to each other may be missed.
    """
    source = np.array([x_source, y_source])
    start = np.concatenate(list(_candidates(grid, beta, source)))
    with np.errstate(invalid="ignore", divide="ignore"):  # on a point mass, or in a lens's centre
        images, magnification = _refine(shoot, start, source, grid.pixel)
    return images[:, 0], images[:, 1], magnification


def _candidates(grid, beta, source):
    """Places in the triangles that hold the source, shape ``(k, 2)`` for each kind of triangle."""
    axis = (np.arange(grid.n) - (grid.n - 1) / 2) * grid.pixel
    offset = np.stack([np.asarray(beta[0], float) - source[0],
                       np.asarray(beta[1], float) - source[1]])
    low, high = slice(None, -1), slice(1, None)
    for corners in (((low, low), (low, high), (high, low)),
                    ((high, high), (high, low), (low, high))):
        b = [offset[:, i, j] for i, j in corners]
        # Twice the areas of the triangles that the source makes with each side.
        areas = np.stack([b[1][0] * b[2][1] - b[1][1] * b[2][0],
                          b[2][0] * b[0][1] - b[2][1] * b[0][0],
                          b[0][0] * b[1][1] - b[0][1] * b[1][0]])
        inside = (areas >= 0).all(axis=0) | (areas <= 0).all(axis=0)
        inside &= areas.any(axis=0)
        row, column = np.nonzero(inside)
        weight = areas[:, row, column]
        weight = weight / weight.sum(axis=0)
        # The same weights as in the source plane.
        shift = [(0 if i is low else 1, 0 if j is low else 1) for i, j in corners]
        y = sum(w * axis[row + s[0]] for w, s in zip(weight, shift))
        x = sum(w * axis[column + s[1]] for w, s in zip(weight, shift))
        yield np.stack([x, y], axis=1)


def _trace(shoot, positions):
    """Rays from places ``(k, 2)``: where they meet the source plane, and its derivatives."""
    around = [np.zeros(2), *(sign * DIFFERENCE_STEP * axis for axis in np.eye(2) for sign in (1, -1))]
    x, y = np.concatenate([positions + offset for offset in around]).T
    beta = np.stack(shoot(x, y), axis=-1).reshape(5, -1, 2)
    return beta[0], np.stack([beta[1] - beta[2], beta[3] - beta[4]], axis=-1) / (2 * DIFFERENCE_STEP)


def _refine(shoot, positions, source, longest):
    """Newton's steps from all places at once; those that converge, each once."""
    moving = np.ones(len(positions), bool)
    for _ in range(MAX_NEWTON_STEPS):
        if not moving.any():
            break
        beta, jacobian = _trace(shoot, positions[moving])
        # A place where the lens has no shape, such as its centre, goes nowhere.
        fine = np.abs(np.linalg.det(jacobian)) > 1e-12
        step = np.zeros_like(beta)
        step[fine] = np.linalg.solve(jacobian[fine], (source - beta)[fine][..., None])[..., 0]
        length = np.hypot(*step.T)
        positions[moving] += step * np.minimum(1, longest / np.maximum(length, 1e-12))[:, None]
        moving[moving] = length > NEWTON_TOLERANCE
    images = []
    for position in positions[~moving]:
        if all(np.hypot(*(position - image)) > 1e-3 for image in images):
            images.append(position)
    images = np.array(images).reshape(-1, 2)
    beta, jacobian = _trace(shoot, images)
    good = (np.abs(beta - source) < 1e-6).all(axis=1)
    return images[good], 1 / np.linalg.det(jacobian[good])
