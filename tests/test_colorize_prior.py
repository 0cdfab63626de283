"""Colours that are likely by all places of the references that are alike, and the embedding that says which are."""

import cv2
import numpy as np
import pytest
import torch

from psal_cli.image.cielab import coloured, lab
from psal_cli.networks.embedding import CHANNELS, EmbeddingNetwork
from psal_cli.verbs.colorize import matching, prior
from psal_cli.verbs.colorize.prior import UNSEEN, ColourPrior, colour_prior, embedding, pooled


@pytest.mark.parametrize(("size", "features"), [((32, 48), (8, 12)), ((33, 50), (9, 13)), ((1, 3), (1, 1))])
def test_features_have_a_quarter_of_the_size_rounded_up(size, features):
    with torch.no_grad():
        assert EmbeddingNetwork()(torch.rand(1, 1, *size)).shape == (1, CHANNELS, *features)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_attended_is_the_softmax_of_distances_to_all_places_that_count(temperature):
    torch.manual_seed(0)
    network, target = EmbeddingNetwork(), torch.rand(1, 1, 24, 20)
    sizes = ((16, 28), (24, 12))
    references = [
        (torch.rand(1, 1, h, w), torch.rand(1, 3, h // 4, w // 4), torch.rand(1, h // 4, w // 4) < 0.7) for h, w in sizes
    ]
    with torch.no_grad():
        attended = network.attended(target, references, temperature=temperature)
        query = network(target)[0].flatten(1).T
        key = torch.cat([network(light)[0].flatten(1).T[valid.flatten()] for light, _, valid in references])
        value = torch.cat([x[0].flatten(1).T[valid.flatten()] for _, x, valid in references])
        right = (-torch.cdist(query, key).square() / temperature).softmax(1) @ value
    torch.testing.assert_close(attended[0].flatten(1).T, right, atol=1e-4, rtol=1e-4)


def test_means_are_of_what_is_valid():
    chroma, valid = torch.zeros(1, 2, 4, 8), torch.ones(1, 1, 4, 8, dtype=torch.bool)
    chroma[:, 0, :, :2], chroma[:, 1, :, :2] = 0.3, -0.4
    valid[..., 2:4], valid[..., 4:] = False, False
    values, some = pooled(chroma, valid)
    torch.testing.assert_close(values[0, :, 0, 0], torch.tensor([0.3, -0.4, 0.25]))
    assert some.tolist() == [[[True, False]]]


def flat(colours):
    """uint8 [64, 96, 3] of one lightness; columns of equal width in some chroma, a* and b* divided by 100."""
    chroma = np.repeat(np.float32(colours), 96 // len(colours), 0)
    return coloured(np.full((64, 96, 1), 120, np.uint8), np.broadcast_to(chroma, (64, 96, 2)))


def test_where_nothing_tells_places_apart_the_mean_is_likely_and_all_are_as_far_from_it():
    picture = lab(flat([(0.2, 0), (-0.2, 0)] * 3))
    likely = colour_prior(picture[..., 0], matching.atlas_of([(picture, None)]))
    assert likely.chroma.shape == (16, 24, 3)
    inside = likely.chroma[4:-4, 4:-4]
    np.testing.assert_allclose(inside[..., :2], 0, atol=0.03)
    assert (inside[..., 2] > 0.12).all() and (inside[..., 2] < 0.21).all()
    alone = colour_prior(picture[..., 0], matching.atlas_of([(lab(flat([(0.1, 0.1)])), None)])).chroma
    np.testing.assert_allclose(alone, np.broadcast_to(np.float32([0.1, 0.1, 0]), alone.shape), atol=0.01)


def test_the_hotter_the_nearer_is_what_is_likely_to_the_mean_of_all(pair):
    picture = lab(np.rint(pair(96)[0][0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    references = matching.atlas_of([(picture, None)])
    mean = picture[..., 1:].mean((0, 1))
    trained, unseen, all_alike = (
        np.abs(colour_prior(picture[..., 0], references, temperature=t).chroma[..., :2] - mean).mean() for t in (1, UNSEEN, 1e6)
    )
    assert trained > unseen > all_alike and all_alike < 1e-3


def test_hidden_colours_never_count():
    picture, hidden = lab(flat([(0.1, 0.1)])), np.zeros((64, 96), bool)
    other = np.where(hidden[..., None], 0, picture)
    other[:, 50:, 1:], hidden[:, 50:] = -0.5, True
    likely = colour_prior(picture[..., 0], matching.atlas_of([(other, ~hidden), (other, np.zeros_like(hidden))])).chroma
    np.testing.assert_allclose(likely, np.broadcast_to(np.float32([0.1, 0.1, 0]), likely.shape), atol=0.01)


def test_likely_colours_end_at_an_edge_of_lightness():
    chroma, light = np.full((4, 8, 3), -0.2, np.float32), np.full((4, 8), 0.2, np.float32)
    chroma[:, 4:], light[:, 4:] = 0.2, 0.9
    large = np.full((16, 32), 0.2, np.float32)
    large[:, 17:] = 0.9
    likely = ColourPrior(chroma, light).at(large)
    assert (likely[:, :17, 0] < -0.1).all() and (likely[:, 17:, 0] > 0.1).all()


@pytest.mark.parametrize("size", [(84, 112), (6, 448), (16, 448), (24, 448), (448, 6), (448, 16)])
def test_the_embedding_is_the_same_for_any_number_of_threads(threads, size):
    """Strips are worked at 448 pixels, as all pictures are: oneDNN splits the sums of such low maps among threads."""
    light = torch.rand(1, 1, *size)
    network, embedded = embedding("cpu"), []
    for count in (1, 2, 3, 5):
        threads(count)
        with torch.no_grad():
            embedded.append(network(light))
    assert all(torch.equal(x, embedded[0]) for x in embedded)


def with_another_reference(pair):
    """(target, its reference, another scene), Lab divided by 100: a blurred one upside down, of one strong colour."""
    target, reference = (lab(np.rint(x[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)) for x in pair(128))
    other = np.full_like(reference, 0.6)
    other[..., 0] = cv2.GaussianBlur(np.ascontiguousarray(target[::-1, :, 0]), (0, 0), 3)
    return target, reference, other


def test_a_reference_that_looks_less_like_the_picture_lends_less(pair, monkeypatch):
    target, reference, other = with_another_reference(pair)
    light = np.ascontiguousarray(target[..., 0])
    alone = colour_prior(light, matching.atlas_of([(reference, None)]))
    together = colour_prior(light, atlas := matching.atlas_of([(other, None), (reference, None)]))
    monkeypatch.setattr(prior, "unlikeness", lambda *_: [0.0, 0.0])
    equal = colour_prior(light, atlas)
    strayed = [float(np.abs(x.chroma - alone.chroma)[..., :2].mean()) for x in (together, equal)]
    assert strayed[0] < 0.8 * strayed[1]


def test_a_reference_is_compared_by_what_is_visible(pair):
    target, reference, other = with_another_reference(pair)
    with torch.no_grad():
        query, best, worse = (
            embedding("cpu")(torch.from_numpy(np.ascontiguousarray(x[..., 0]))[None, None]) for x in (target, reference, other)
        )
    all_of_it, nothing = (torch.full((1, *query.shape[2:]), visible) for visible in (True, False))
    far, near, hidden = prior.unlikeness(query, [worse, best, worse], [all_of_it, all_of_it, nothing], UNSEEN)
    assert far > 0 == near == hidden
    assert prior.unlikeness(query, [worse, worse], [all_of_it, nothing], UNSEEN) == [0, 0]
