"""What a lens and its source are, from an image: the beginning of a fit by the lens equation."""

import math

import torch
from torch import nn
from torch.nn import functional

from lenssr._forward_model import LOG_AREA_OFFSET, covered_area
from lenssr.lensing import LENS_PARAMETERS, LIGHT_PARAMETERS, SceneGrid, deflection, sersic_profile
from lenssr.networks._architecture import Architecture
from lenssr.networks._inputs import asinh_scale, sinh_scale
from lenssr.networks._layers import GeluBlock, check_scale, conv3

MODEL_ERROR = 0.05  # relative error of a Sersic profile at each pixel

OUTLIER_CHI2 = 30.0  # squared residual above which a pixel counts by its logarithm

OTHER_GUESS_WEIGHT, SCORE_WEIGHT = 0.5, 0.1  # in the loss

LOG_RADIUS_RANGE = (0.6, 2.9)  # logarithm of the Einstein radii of the guesses, input pixels

MIN_CHI2 = 0.1  # below which guesses count as equally good

GUESS_SERIES_TERMS = 8  # of the power-law series: accurate to 2e-3 for axis ratios above 1/2

PIXELS_PER_UNIT = 16.0  # input pixels per unit of the network coordinates
AMPLITUDE_RIDGE = 1e-4  # of the normal equations of the amplitudes
N_REWEIGHTS = 3  # robust reweightings of the amplitudes


class LensEquationNetwork(nn.Module):
    r"""
    The parameters of lens, lens galaxy and source, several guesses, and the image they mean.

    A convolutional network looks at the image and says for each of its guesses where the lens
    is, what its Einstein radius, slope, ellipticity and shear are, and of what shape are a
    Sersic profile of the galaxy and another one in the source plane. The rest is physics: rays
    from the pixels of the output meet the source plane by the lens equation,
    :math:`\beta = \theta - \alpha(\theta)`, and have the surface brightness that the source has
    there. The amplitudes of both profiles and of the sky are linear, and the best ones are
    solved for; the image is seen through the PSF, and what is learnt from is its misfit to the
    data alone, of the best guess of each image (Guzmán-Rivera et al. 2012, "Multiple choice
    learning"; the unsupervised idea is that of LensPINN and arXiv:2012.00792).

    The layers see no scale: it says but where the model is evaluated.

    Parameters
    ----------
    channels : int
        Channels of the image; one.
    scale : int or list of int
        Output pixels per input pixel: any of 2, 3 and 4.
    guesses : int
        Sets of parameters.
    features : int
        Channels of the first layers; those further in have up to three times as many.
    """

    def __init__(self, channels: int = 1, scale: int | list = 2, guesses: int = 5,
                 features: int = 32):
        super().__init__()
        if channels != 1:
            raise ValueError(f"`channels` must be 1 for this architecture, got {channels}")
        self.scales = tuple(check_scale(s) for s in (
            scale if isinstance(scale, list | tuple) else [scale]))
        self.guesses = guesses
        widths = [features, features * 3 // 2, features * 2, features * 3]
        layers = [conv3(5, features)]
        for a, b in zip(widths, [*widths[1:], widths[-1]]):
            layers += [GeluBlock(a), nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GELU()]
        self.body = nn.Sequential(*layers[:-3])
        self.last = nn.Sequential(*layers[-3:])
        self.where = nn.Conv2d(widths[-1], 2, 1)
        self.numbers = len(LENS_PARAMETERS) + 2 * len(LIGHT_PARAMETERS)
        self.head = nn.Sequential(
            nn.Linear(4 * widths[-1] + 5, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(),
            nn.Linear(256, guesses * (self.numbers + 1)))
        nn.init.normal_(self.head[-1].weight, std=0.01)
        nn.init.zeros_(self.head[-1].bias)

    def guess(self, x: torch.Tensor, sigma: torch.Tensor, area: torch.Tensor) -> tuple:
        """Parameters of lens, galaxy and source."""
        ny, nx = x.shape[-2:]
        y_axis, x_axis = (torch.arange(n, device=x.device, dtype=torch.float32) - (n - 1) / 2
                          for n in (ny, nx))
        area_plane = (area.float() - LOG_AREA_OFFSET).reshape(-1, 1, 1, 1).expand(-1, 1, ny, nx)
        planes = torch.cat([x, 1 / sigma, area_plane, (x_axis / PIXELS_PER_UNIT).expand_as(x),
                          (y_axis[:, None] / PIXELS_PER_UNIT).expand_as(x)], dim=1)
        features = self.body(planes)
        attention = self.where(features).float().flatten(2).softmax(-1)
        coordinates = [functional.interpolate(axis.reshape(1, 1, -1), features.shape[dim], mode="linear",
                                         align_corners=False).ravel()
                  for dim, axis in ((-2, y_axis), (-1, x_axis))]
        grid = torch.stack(torch.meshgrid(*coordinates, indexing="ij")[::-1]).flatten(1)
        middle = attention @ grid.T
        pooled = (attention @ features.float().flatten(2).transpose(1, 2)).flatten(1)
        deep = self.last(features).float()
        pooled = torch.cat([pooled, deep.mean(dim=(2, 3)), deep.amax(dim=(2, 3)),
                            middle.flatten(1) / PIXELS_PER_UNIT, area_plane[:, :, 0, 0].float()], dim=1)
        numbers = self.head(pooled).float().reshape(len(x), self.guesses, -1)
        return self._physical(numbers[..., :-1], middle[:, :1]), numbers[..., -1]

    def _physical(self, raw, middle):
        lens_params, galaxy, source = raw.split([len(LENS_PARAMETERS), len(LIGHT_PARAMETERS), len(LIGHT_PARAMETERS)], dim=-1)
        # Each guess has a range of radii of its own, a little wider than the distance to the next.
        low, high = LOG_RADIUS_RANGE
        middle_radius = low + (high - low) * (torch.arange(
            self.guesses, device=raw.device) + 0.5) / self.guesses
        log_radius = middle_radius + 0.6 * (high - low) / self.guesses * torch.tanh(lens_params[..., 0])
        shape = 0.5 * torch.tanh(0.4 * lens_params[..., 2:4])
        centre = middle + lens_params[..., 4:6]
        lens_params = torch.cat([log_radius[..., None], 2.05 + 0.25 * torch.tanh(lens_params[..., 1:2] / 2),
                           shape, centre, 0.15 * torch.tanh(0.4 * lens_params[..., 6:])], dim=-1)
        behind = centre + 0.5 * log_radius.exp()[..., None] * source[..., :2]
        return torch.cat([
            lens_params, centre + 0.3 * galaxy[..., :2], 1.4 + torch.tanh(galaxy[..., 2:3]),
            0.9 + 0.6 * torch.tanh(galaxy[..., 3:4]), shape + 0.2 * torch.tanh(galaxy[..., 4:]),
            behind, 0.3 + 1.3 * torch.tanh(0.5 * source[..., 2:3]),
            0.2 + 0.7 * torch.tanh(0.5 * source[..., 3:4]),
            0.4 * torch.tanh(0.5 * source[..., 4:])], dim=-1)

    def predict(self, data, weight, kernel, scale):
        """The guesses of one image, the best one first."""
        data, sigma = data[None, None], weight.rsqrt()[None, None]
        parameters, _ = self.guess(asinh_scale(data), sigma, covered_area(kernel, scale).log())
        chi2, _ = self.evaluate(parameters, data, sigma,
                                  SceneGrid(data.shape[-2:], scale, 1, kernel))
        order = chi2[0].argsort()
        return parameters[:, order], chi2[:, order]

    @staticmethod
    def scene(parameters: torch.Tensor, lattice: SceneGrid) -> torch.Tensor:
        """Galaxy and lensed source as surface brightnesses, ``(batch, k, 2, ...)``."""
        lens_params, galaxy, source = parameters.split([len(LENS_PARAMETERS), len(LIGHT_PARAMETERS), len(LIGHT_PARAMETERS)], dim=-1)
        ax, ay = deflection(lattice.x, lattice.y, lens_params, GUESS_SERIES_TERMS)
        return torch.stack([sersic_profile(lattice.x, lattice.y, galaxy),
                            sersic_profile(lattice.x - ax, lattice.y - ay, source)], dim=2)

    def evaluate(self, parameters, data, sigma, lattice):
        """
        How well parameters explain the data.

        At the best amplitudes the misfit does not change with them: its gradient in the
        parameters is that with the amplitudes held fixed (variable projection: Golub & Pereyra
        1973, doi:10.1137/0710036), so that none has to pass through their solution.
        """
        weight = 1 / (sigma.square() + (MODEL_ERROR * data).square())
        scene = self.scene(parameters, lattice)
        with torch.no_grad():
            planes = torch.cat([scene, torch.ones_like(scene[:, :, :1])], dim=2)
            predicted = lattice.data(lattice.target_image(planes).flatten(1, 2)).unflatten(1, planes.shape[1:3])
            amplitude = _best_amplitudes(predicted, data, weight)[..., None, None]
        target_images = lattice.target_image((scene * amplitude[:, :, :2]).sum(dim=2)) + amplitude[:, :, 2]
        square = (data - lattice.data(target_images)).square() * weight
        robust_chi2 = OUTLIER_CHI2 * torch.log1p(square / OUTLIER_CHI2).mean(dim=(-2, -1))
        return robust_chi2, lattice.inner(target_images)

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, kernel: torch.Tensor,
                correlation: torch.Tensor, scale: int | None = None,
                residual_loss: bool = False) -> torch.Tensor:
        """The image of the best guess; with ``misfit``, what is learnt from, a number."""
        kernel = kernel.float()
        scale = self.scales[0] if scale is None else scale
        parameters, scores = self.guess(x, sigma, covered_area(kernel, scale).log())
        with torch.autocast(x.device.type, enabled=False):
            data, sigma = sinh_scale(x.float()), sigma.float()
            lattice = SceneGrid(x.shape[-2:], scale, 1, kernel)
            with torch.no_grad():
                chi2, images = self.evaluate(parameters, data, sigma, lattice)
            winner = chi2.argmin(dim=1, keepdim=True)
            if not residual_loss:
                return asinh_scale(_select_guesses(images, winner))
            # The best, and another one lest it be forgotten; and which was the best, so that not
            # all of them need be tried.
            other_guess = torch.randint_like(winner, self.guesses)
            parameters = _select_guesses(parameters, torch.cat([winner, other_guess], dim=1))
            log_chi2 = torch.log(self.evaluate(parameters, data, sigma, lattice)[0] + MIN_CHI2)
            return (log_chi2[:, 0].mean() + OTHER_GUESS_WEIGHT * log_chi2[:, 1].mean()
                    + SCORE_WEIGHT * functional.cross_entropy(scores, winner[:, 0]))


def _select_guesses(tensors, index):
    """Of each entry of a batch those that an index ``(batch, k)`` names."""
    return tensors[torch.arange(len(tensors), device=index.device)[:, None], index]


def _best_amplitudes(predicted_planes, data, weight):
    """Best amplitudes ``(batch, k, 3)`` of planes, those of light not negative, robust."""
    planes, data, weight = predicted_planes.flatten(3), data.flatten(2), weight.flatten(2)
    norm = (planes.square() * weight[:, :, None]).sum(-1).clamp(min=1e-12).rsqrt()
    planes = planes * norm[..., None]
    ridge = AMPLITUDE_RIDGE * torch.eye(planes.shape[2], device=planes.device)
    floor = planes.new_tensor([0.0, 0.0, -math.inf])
    used = weight.expand(*planes.shape[:2], -1)
    for _ in range(N_REWEIGHTS):
        weighted = planes * used[:, :, None]
        right = (weighted * data[:, :, None]).sum(-1)
        normal = weighted @ planes.transpose(-2, -1) + ridge
        amplitudes = torch.linalg.solve(normal.double(), right.double()).float().maximum(floor)
        residual = data - (planes * amplitudes[..., None]).sum(dim=2)
        # The slope of the robust misfit is that of squares with these weights.
        used = weight / (1 + residual.square() * weight / OUTLIER_CHI2)
    return amplitudes * norm


ARCHITECTURE = Architecture("lens_equation", LensEquationNetwork, inputs="physics",
                            trainer="residual", reference="2006MNRAS.371..983S",
                            scale_free=True)
