"""Network that predicts the parameters of a lens and its source from an image."""

import math

import torch
from torch import nn
from torch.nn import functional

from lenssr._forward_model import LOG_AREA_OFFSET, covered_area
from lenssr.lensing import LENS_PARAMETERS, LIGHT_PARAMETERS, SceneGrid, deflection, sersic_profile
from lenssr.networks._architecture import Architecture
from lenssr.networks._inputs import asinh_scale, sinh_scale
from lenssr.networks._layers import GeluBlock, check_scales, conv3

MODEL_ERROR = 0.05     # relative error of a Sersic model, added to the noise of each pixel
MAX_CHI2 = 30.0        # squared residual beyond which a pixel counts by its logarithm
RUNNER_UP_WEIGHT = 0.5  # in the loss, of a random guess beside the best one
SCORE_WEIGHT = 0.1     # in the loss, of the classification of the best guess
LOG_RADIUS_RANGE = (0.6, 2.9)  # logarithm of the Einstein radii of the guesses, input pixels
CHI2_OFFSET = 0.1      # added to the chi2 in the logarithm of the loss
SERIES_TERMS = 8       # of the power law: 2e-3 of the deflection for an axis ratio of 0.5
PIXELS_PER_UNIT = 16.0  # input pixels per unit of the coordinates that enter the network
AMPLITUDE_RIDGE = 1e-4  # of the normal equations of the amplitudes, relative
REWEIGHTINGS = 3       # iterations of the robust least squares
PARAMETER_COUNTS = [len(LENS_PARAMETERS), len(LIGHT_PARAMETERS), len(LIGHT_PARAMETERS)]


class LensEquationNetwork(nn.Module):
    r"""
    Predict several guesses of lens, lens galaxy and source, and the image that they model.

    For each guess the network predicts position, Einstein radius, slope, ellipticity and shear of
    the lens, and a Sersic profile each of the galaxy and of the source. Rays from the output
    pixels are traced through :math:`\beta = \theta - \alpha(\theta)` to the source plane. The
    amplitudes of both profiles and the sky are linear and solved for. The loss is the chi2 of the
    data alone, for the best guess of each image (Guzmán-Rivera et al. 2012, "Multiple choice
    learning"; unsupervised as LensPINN and arXiv:2012.00792).

    The layers do not depend on ``scale``, which only sets the grid of the model. ``guesses`` is
    the number of parameter sets, ``features`` the channels of the first layers.
    """

    def __init__(self, channels: int = 1, scale: int | list = 2, guesses: int = 5,
                 features: int = 32):
        super().__init__()
        if channels != 1:
            raise ValueError(f"`channels` must be 1 for this architecture, got {channels}")
        self.scales = check_scales(scale)
        self.guesses = guesses
        widths = [features, features * 3 // 2, features * 2, features * 3]
        layers = [conv3(5, features)]
        for a, b in zip(widths, [*widths[1:], widths[-1]]):
            layers += [GeluBlock(a), nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GELU()]
        self.body = nn.Sequential(*layers[:-3])
        self.last = nn.Sequential(*layers[-3:])
        self.where = nn.Conv2d(widths[-1], 2, 1)
        self.numbers = sum(PARAMETER_COUNTS)
        self.head = nn.Sequential(
            nn.Linear(4 * widths[-1] + 5, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(),
            nn.Linear(256, guesses * (self.numbers + 1)))
        nn.init.normal_(self.head[-1].weight, std=0.01)
        nn.init.zeros_(self.head[-1].bias)

    def guess(self, x: torch.Tensor, sigma: torch.Tensor, log_area: torch.Tensor) -> tuple:
        """
        Predict parameters ``(batch, guesses, 20)`` and logits ``(batch, guesses)`` of the best.

        Parameters are ``LENS_PARAMETERS``, then ``LIGHT_PARAMETERS`` of galaxy and source, lengths
        in input pixels from the image centre. ``x`` is the data through `asinh_scale`, ``sigma``
        their standard deviation (infinite for bad pixels), ``log_area`` the logarithm of
        `covered_area`.
        """
        ny, nx = x.shape[-2:]
        y_axis, x_axis = (torch.arange(n, device=x.device, dtype=torch.float32) - (n - 1) / 2
                          for n in (ny, nx))
        area = (log_area.float() - LOG_AREA_OFFSET).reshape(-1, 1, 1, 1).expand(-1, 1, ny, nx)
        planes = torch.cat([x, 1 / sigma, area, (x_axis / PIXELS_PER_UNIT).expand_as(x),
                            (y_axis[:, None] / PIXELS_PER_UNIT).expand_as(x)], dim=1)
        features = self.body(planes)
        attention = self.where(features).float().flatten(2).softmax(-1)
        axes = [functional.interpolate(axis.reshape(1, 1, -1), features.shape[dim], mode="linear",
                                       align_corners=False).ravel()
                for dim, axis in ((-2, y_axis), (-1, x_axis))]
        positions = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1]).flatten(1)
        centre = attention @ positions.T
        pooled = (attention @ features.float().flatten(2).transpose(1, 2)).flatten(1)
        deep = self.last(features).float()
        pooled = torch.cat([pooled, deep.mean(dim=(2, 3)), deep.amax(dim=(2, 3)),
                            centre.flatten(1) / PIXELS_PER_UNIT, area[:, :, 0, 0].float()], dim=1)
        outputs = self.head(pooled).float().reshape(len(x), self.guesses, -1)
        return self._physical(outputs[..., :-1], centre[:, :1]), outputs[..., -1]

    def _physical(self, raw, centre):
        lens, galaxy, source = raw.split(PARAMETER_COUNTS, dim=-1)
        # The range of radii of each guess overlaps a little with the next.
        low, high = LOG_RADIUS_RANGE
        mean_radius = low + (high - low) * (torch.arange(
            self.guesses, device=raw.device) + 0.5) / self.guesses
        log_radius = mean_radius + 0.6 * (high - low) / self.guesses * torch.tanh(lens[..., 0])
        shape = 0.5 * torch.tanh(0.4 * lens[..., 2:4])
        centre = centre + lens[..., 4:6]
        lens = torch.cat([log_radius[..., None], 2.05 + 0.25 * torch.tanh(lens[..., 1:2] / 2),
                          shape, centre, 0.15 * torch.tanh(0.4 * lens[..., 6:])], dim=-1)
        source_centre = centre + 0.5 * log_radius.exp()[..., None] * source[..., :2]
        return torch.cat([
            lens, centre + 0.3 * galaxy[..., :2], 1.4 + torch.tanh(galaxy[..., 2:3]),
            0.9 + 0.6 * torch.tanh(galaxy[..., 3:4]), shape + 0.2 * torch.tanh(galaxy[..., 4:]),
            source_centre, 0.3 + 1.3 * torch.tanh(0.5 * source[..., 2:3]),
            0.2 + 0.7 * torch.tanh(0.5 * source[..., 3:4]),
            0.4 * torch.tanh(0.5 * source[..., 4:])], dim=-1)

    def predict(self, data, weight, kernel, scale):
        """
        Guesses of one image, best first: parameters ``(1, guesses, 20)``, chi2 ``(1, guesses)``.

        ``data`` in noise units and ``weight``, the inverse variance, have shape ``(ny, nx)``;
        ``kernel`` is the PSF relative to the target resolution at ``scale``.
        """
        data, sigma = data[None, None], weight.rsqrt()[None, None]
        parameters, _ = self.guess(asinh_scale(data), sigma, covered_area(kernel, scale).log())
        chi2, _ = self.evaluate(parameters, data, sigma,
                                SceneGrid(data.shape[-2:], scale, 1, kernel))
        order = chi2[0].argsort()
        return parameters[:, order], chi2[:, order]

    @staticmethod
    def scene(parameters: torch.Tensor, grid: SceneGrid) -> torch.Tensor:
        """Surface brightness of galaxy and lensed source, ``(batch, k, 2, ...)``."""
        lens, galaxy, source = parameters.split(PARAMETER_COUNTS, dim=-1)
        ax, ay = deflection(grid.x, grid.y, lens, SERIES_TERMS)
        return torch.stack([sersic_profile(grid.x, grid.y, galaxy),
                            sersic_profile(grid.x - ax, grid.y - ay, source)], dim=2)

    def evaluate(self, parameters, data, sigma, grid):
        """
        Robust mean chi2 ``(batch, k)`` and images at the target resolution, for parameter sets.

        At the best amplitudes chi2 does not change with them, so its gradient needs no path
        through their solution (variable projection: Golub & Pereyra 1973, doi:10.1137/0710036).
        """
        weight = 1 / (sigma.square() + (MODEL_ERROR * data).square())
        scene = self.scene(parameters, grid)
        with torch.no_grad():
            planes = torch.cat([scene, torch.ones_like(scene[:, :, :1])], dim=2)
            models = grid.observe(grid.to_target(planes).flatten(1, 2)).unflatten(
                1, planes.shape[1:3])
            amplitudes = _solve_amplitudes(models, data, weight)[..., None, None]
        image = grid.to_target((scene * amplitudes[:, :, :2]).sum(dim=2)) + amplitudes[:, :, 2]
        square = (data - grid.observe(image)).square() * weight
        chi2 = MAX_CHI2 * torch.log1p(square / MAX_CHI2).mean(dim=(-2, -1))
        return chi2, grid.trim(image)

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, kernel: torch.Tensor,
                correlation: torch.Tensor, scale: int | None = None,
                residual_loss: bool = False) -> torch.Tensor:
        """Image of the best guess through `asinh_scale`, or the loss if requested."""
        kernel = kernel.float()
        scale = self.scales[0] if scale is None else scale
        parameters, scores = self.guess(x, sigma, covered_area(kernel, scale).log())
        with torch.autocast(x.device.type, enabled=False):
            data, sigma = sinh_scale(x.float()), sigma.float()
            grid = SceneGrid(x.shape[-2:], scale, 1, kernel)
            with torch.no_grad():
                chi2, images = self.evaluate(parameters, data, sigma, grid)
            best = chi2.argmin(dim=1, keepdim=True)
            if not residual_loss:
                return asinh_scale(_select(images, best))
            # A random second guess keeps all guesses trained.
            second = torch.randint_like(best, self.guesses)
            parameters = _select(parameters, torch.cat([best, second], dim=1))
            log_chi2 = torch.log(self.evaluate(parameters, data, sigma, grid)[0] + CHI2_OFFSET)
            return (log_chi2[:, 0].mean() + RUNNER_UP_WEIGHT * log_chi2[:, 1].mean()
                    + SCORE_WEIGHT * functional.cross_entropy(scores, best[:, 0]))


def _select(values, index):
    """Select entries ``(batch, k)`` of the second axis."""
    return values[torch.arange(len(values), device=index.device)[:, None], index]


def _solve_amplitudes(models, data, weight):
    """Robust best amplitudes ``(batch, k, 3)`` of galaxy, source (not negative) and sky."""
    planes, data, weight = models.flatten(3), data.flatten(2), weight.flatten(2)
    norm = (planes.square() * weight[:, :, None]).sum(-1).clamp(min=1e-12).rsqrt()
    planes = planes * norm[..., None]
    ridge = AMPLITUDE_RIDGE * torch.eye(planes.shape[2], device=planes.device)
    lower = planes.new_tensor([0.0, 0.0, -math.inf])
    robust = weight.expand(*planes.shape[:2], -1)
    for _ in range(REWEIGHTINGS):
        weighted = planes * robust[:, :, None]
        right = (weighted * data[:, :, None]).sum(-1)
        normal = weighted @ planes.transpose(-2, -1) + ridge
        amplitudes = torch.linalg.solve(normal.double(), right.double()).float().maximum(lower)
        residual = data - (planes * amplitudes[..., None]).sum(dim=2)
        # Weighted squares with these weights have the gradient of the robust chi2.
        robust = weight / (1 + residual.square() * weight / MAX_CHI2)
    return amplitudes * norm


ARCHITECTURE = Architecture("lens_equation", LensEquationNetwork, inputs="physics",
                            trainer="residual", scale_free=True,
                            reference="2006MNRAS.371..983S")
