"""The oracle: the operations and the layer again, in plain torch, slow and obvious, in any dtype (use float64).

Names and arguments are those of ops/ and attention/psal.py, but no code is shared, so a test that compares the two compares two
readings of the paper. For pictures of a few thousand pixels only.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Place = tuple[int, int]  # (row, column)
Matches = dict[Place, list[Place]]  # of each query, best first
Values = list[list[list[list[float]]]]  # a similarity by row and column of query and key


def offsets(patch_size: int) -> Iterator[tuple[int, int]]:
    """The (row, column) offsets of a patch from its centre."""
    radius = patch_size // 2
    for row in range(-radius, radius + 1):
        for column in range(-radius, radius + 1):
            yield row, column


def moved(x: Tensor, row: int, column: int) -> Tensor:
    """[..., H, W] -> the same picture shifted by (row, column); zero (False) outside."""
    height, width = x.shape[-2:]
    reach = max(abs(row), abs(column))
    padded = F.pad(x, (reach, reach, reach, reach))
    return padded[..., reach + row : reach + row + height, reach + column : reach + column + width]


def inverse_norm(x: Tensor, patch_size: int) -> Tensor:
    """[B, C, H, W] -> [B, H, W]: 1 / max(norm of the patch around each pixel, 1e-4); outside the picture counts as zero."""
    energy = sum(moved(x, *offset).square().sum(1) for offset in offsets(patch_size))
    return 1 / energy.clamp_min(1e-8).sqrt()


# ---------------------------------------------------------------------------------------------------------------- search


def all_similarities(query: Tensor, key: Tensor, patch_size: int, similarity: str) -> Tensor:
    """[B, H * W, Hk * Wk]: every query patch with every key patch. Pixels outside the query picture are skipped."""
    total = 0
    for offset in offsets(patch_size):
        q = moved(query, *offset).flatten(2).transpose(1, 2)  # [B, H * W, C]
        k = moved(key, *offset).flatten(2).transpose(1, 2)  # [B, Hk * Wk, C]
        if similarity == "l2":
            inside = moved(torch.ones_like(query[:1, :1]), *offset).flatten()[:, None]  # [H * W, 1]
            total = total - inside * torch.cdist(q, k, compute_mode="donot_use_mm_for_euclid_dist").square()
        else:
            total = total + q @ k.transpose(1, 2)
    if similarity in ("cosine", "key_cosine"):
        total = total * inverse_norm(key, patch_size).flatten(1)[:, None, :]
    if similarity == "cosine":
        total = total * inverse_norm(query, patch_size).flatten(1)[:, :, None]
    return total


def whole_keys(key: Tensor, patch_size: int, key_mask: Tensor | None = None) -> Tensor:
    """bool [B, Hk, Wk]: True where the whole patch lies inside the key picture and inside key_mask."""
    usable = key.new_ones((key.shape[0], *key.shape[2:]), dtype=torch.bool) if key_mask is None else key_mask
    whole = torch.ones_like(usable)
    for offset in offsets(patch_size):
        whole = whole & moved(usable, *offset)
    return whole


def search(
    query: Tensor,
    key: Tensor,
    patch_size: int = 7,
    k: int = 3,
    iterations: int = 5,
    similarity: str = "l2",
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    init: Tensor | None = None,
    schedule: str | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """The exact k nearest of all keys, ties in raster order. `iterations`, `init`, `schedule` and `seed` have no effect.

    Returns: nnf int32 [B, k, 2, H, W], similarity [B, k, H, W] of the features' dtype. The memory is B * H * W * Hk * Wk.
    """
    batch, _, height, width = query.shape
    every = all_similarities(query, key, patch_size, similarity)
    every = every.masked_fill(~whole_keys(key, patch_size, key_mask).flatten(1)[:, None], -torch.inf)
    best, place = every.sort(dim=2, descending=True, stable=True)
    best, place = best[:, :, :k].transpose(1, 2), place[:, :, :k].transpose(1, 2)  # [B, k, H * W]
    nnf = torch.stack((place // key.shape[3], place % key.shape[3]), dim=2).int()
    nnf, best = nnf.view(batch, k, 2, height, width), best.reshape(batch, k, height, width)
    if query_mask is not None:
        nnf = nnf.masked_fill(~query_mask[:, None, None], -1)
        best = best.masked_fill(~query_mask[:, None], -torch.inf)
    return nnf, best


def patchmatch(
    query: Tensor, key: Tensor, patch_size: int = 7, k: int = 3, iterations: int = 5, similarity: str = "l2", seed: int = 0
) -> tuple[Tensor, Tensor]:
    """PatchMatch with jump flooding (Algorithm 1 of the paper, all k neighbours propagated) as loops over Python lists.

    Similarities come from `all_similarities`, so this is for reading and for comparing quality on tiny pictures.
    """
    generator = torch.Generator().manual_seed(seed)
    batch, _, height, width = query.shape
    radius, (rows, columns) = patch_size // 2, key.shape[2:]
    every = all_similarities(query, key, patch_size, similarity).view(batch, height, width, rows, columns)
    nnf = torch.empty((batch, k, 2, height, width), dtype=torch.int32)
    best = query.new_empty((batch, k, height, width))

    def draw(low: int, high: int) -> int:  # in [low, high)
        return int(torch.randint(low, high, (), generator=generator))

    def window(centre: int, half: int, side: int) -> int:
        return draw(max(radius, centre - half), min(side - radius, centre + half + 1))

    for image in range(batch):
        value = every[image].tolist()

        def improve(field: Matches, pixel: Place, candidates: list[Place], value: Values = value) -> list[Place]:
            y, x = pixel
            inside = {(r, c) for r, c in candidates if radius <= r < rows - radius and radius <= c < columns - radius}
            return sorted(inside.union(field[pixel]), key=lambda at: (-value[y][x][at[0]][at[1]], at))[:k]

        pixels = [(y, x) for y in range(height) for x in range(width)]
        whole = [(r, c) for r in range(radius, rows - radius) for c in range(radius, columns - radius)]
        field = {pixel: [whole[i] for i in torch.randperm(len(whole), generator=generator)[:k].tolist()] for pixel in pixels}
        for _ in range(iterations):
            before = dict(field)  # reads one field and writes the other
            for y, x in pixels:
                for jump in (1, 2, 4, 8):
                    for down, right in ((-jump, 0), (jump, 0), (0, -jump), (0, jump)):
                        there = before.get((y + down, x + right), [])
                        field[y, x] = improve(field, (y, x), [(r - down, c - right) for r, c in there])
                half = max(rows, columns)
                while half >= 1:
                    r, c = field[y, x][0]
                    field[y, x] = improve(field, (y, x), [(window(r, half, rows), window(c, half, columns))])
                    half //= 2
        for y, x in pixels:
            ranked = improve(field, (y, x), [])
            nnf[image, :, :, y, x] = torch.tensor(ranked, dtype=torch.int32)
            best[image, :, y, x] = best.new_tensor([value[y][x][r][c] for r, c in ranked])
    return nnf, best


# --------------------------------------------------------------------------------------------------------- similarity_at


def inside(row: Tensor, column: Tensor, height: int, width: int) -> Tensor:
    return (row >= 0) & (row < height) & (column >= 0) & (column < width)


def pixels_at(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """[B, C, Hk, Wk] at [B, k, H, W] positions -> [B, k, C, H, W]; positions outside read the nearest edge."""
    height, width = x.shape[2:]
    place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    pixels = x.flatten(2)[:, :, None].expand(-1, -1, place.shape[1], -1)  # [B, C, k, Hk * Wk]
    place = place.flatten(2)[:, None].expand(-1, x.shape[1], -1, -1)  # [B, C, k, H * W]
    return pixels.gather(3, place).unflatten(3, row.shape[2:]).transpose(1, 2)


def similarity_at(query: Tensor, key: Tensor, nnf: Tensor, patch_size: int = 7, similarity: str = "l2") -> Tensor:
    """[B, k, H, W]: similarity of the query patches to the key patches at their matches, a loop over the patch's pixels."""
    row, column = nnf.long().unbind(2)  # [B, k, H, W]
    total = 0
    for down, right in offsets(patch_size):
        q = moved(query, down, right)[:, None]  # [B, 1, C, H, W]
        k = pixels_at(key, row + down, column + right)  # [B, k, C, H, W]
        term = -(q - k).square().sum(2) if similarity == "l2" else (q * k).sum(2)
        in_query = moved(torch.ones_like(query[:, :1], dtype=torch.bool), down, right)
        both = in_query & inside(row + down, column + right, *key.shape[2:])
        total = total + torch.where(both, term, 0)
    if similarity in ("cosine", "key_cosine"):
        total = total * pixels_at(inverse_norm(key, patch_size)[:, None], row, column)[:, :, 0]
    if similarity == "cosine":
        total = total * inverse_norm(query, patch_size)[:, None]
    return total.masked_fill(row < 0, -torch.inf)


# ------------------------------------------------------------------------------------------------------------- aggregate


def aggregate(
    value: Tensor, nnf: Tensor, weight: Tensor, patch_size: int = 1, softmax: bool = False, value_scale: int = 1
) -> Tensor:
    """[B, Cv, s * H, s * W]: equation 5, and with a patch_size above 1 equation 10, as a list of candidates and one sum.

    The candidates of pixel t are, for every neighbour p of t in its patch, what the matches of p paste at t.
    """
    if value_scale > 1:  # each of the s * s value pixels of a key pixel is pasted at its own place
        height, width = nnf.shape[3] * value_scale, nnf.shape[4] * value_scale
        out = value.new_empty((*value.shape[:2], height, width))
        for row, column in ((r, c) for r in range(value_scale) for c in range(value_scale)):
            part = value[:, :, row::value_scale, column::value_scale]
            out[:, :, row::value_scale, column::value_scale] = aggregate(part, nnf, weight, patch_size, softmax)
        return out
    values, weights, present = [], [], []
    for down, right in offsets(patch_size):  # p = t + (down, right)
        known = moved((nnf[:, :, 0] >= 0), down, right)  # [B, k, H, W]
        row, column = (moved(nnf, down, right).long() - nnf.new_tensor([down, right])[:, None, None]).unbind(2)
        values.append(pixels_at(value, row, column))
        weights.append(moved(weight, down, right))
        present.append(known & inside(row, column, *value.shape[2:]))
    values, weights, present = torch.cat(values, 1), torch.cat(weights, 1), torch.cat(present, 1)
    if softmax:
        weights = torch.where(present, weights, torch.finfo(weights.dtype).min).softmax(1)
    weights = torch.where(present, weights, 0).to(torch.promote_types(weights.dtype, value.dtype))
    return (weights[:, :, None] * values).sum(1).to(value.dtype)


# ------------------------------------------------------------------------------------------------------------- the layer


def ps_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    patch_size: int = 7,
    k: int = 3,
    iterations: int = 5,
    *,
    aggregation: bool = False,
    similarity: str = "l2",
    temperature: float = 1.0,
    value_scale: int = 1,
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """Equations 4, 5, 9 and 10 on the exact k nearest neighbours, differentiable by autograd."""
    with torch.no_grad():
        nnf, _ = search(query, key, patch_size, k, iterations, similarity, query_mask, key_mask)
    logits = similarity_at(query, key, nnf, patch_size, similarity) / temperature
    return aggregate(value, nnf, logits, patch_size if aggregation else 1, True, value_scale)


def full_attention(
    query: Tensor, key: Tensor, value: Tensor, patch_size: int = 7, *, similarity: str = "l2", temperature: float = 1.0
) -> Tensor:
    """Equation 1 over all whole key patches: the limit of PSAL-k for k = the number of keys."""
    logits = all_similarities(query, key, patch_size, similarity) / temperature  # [B, H * W, Hk * Wk]
    logits = logits.masked_fill(~whole_keys(key, patch_size).flatten(1)[:, None], -math.inf)
    out = logits.softmax(2) @ value.flatten(2).transpose(1, 2)  # [B, H * W, Cv]
    return out.transpose(1, 2).unflatten(2, query.shape[2:])


# ----------------------------------------------------------------------------------------------------------- composition


def compose(pixels: Tensor, barred: Tensor, unknown: Tensor, origin: Tensor, corner: tuple[int, int], fidelity: float) -> Tensor:
    """[n, C]: the fill of a box whose gradients are those of its sources, as one dense system of equations.

    pixels: [H, W, C] in [0, 1]; barred: bool [H, W]; unknown: bool [h, w] of the box at corner; origin: [n, 2].
    """
    places = [tuple(place) for place in unknown.nonzero().tolist()]
    number = {place: i for i, place in enumerate(places)}
    source = dict(zip(places, (tuple(place) for place in origin.tolist()), strict=True))
    height, width = pixels.shape[:2]

    def own_step(first: tuple[int, int], second: tuple[int, int]) -> Tensor | None:
        usable = all(0 <= y < height and 0 <= x < width and not barred[y, x] for y, x in (first, second))
        return pixels[second] - pixels[first] if usable else None

    def smooth(at: tuple[int, int]) -> bool:
        around = (own_step(at, (at[0] + down, at[1] + right)) for down in range(-2, 3) for right in range(-2, 3))
        return all(float(step.abs().max()) <= 0.1 for step in around if step is not None)

    copies = torch.stack([pixels[source[place]] for place in places])
    matrix = fidelity * torch.eye(len(places), dtype=pixels.dtype)
    right_side = fidelity * copies
    for y, x in ((y, x) for y in range(unknown.shape[0]) for x in range(unknown.shape[1])):
        for down, right in ((1, 0), (0, 1)):
            first, second = (y, x), (y + down, x + right)
            if second[0] >= unknown.shape[0] or second[1] >= unknown.shape[1] or not ({first, second} & number.keys()):
                continue
            at_first, at_second = (source.get(p, (p[0] + corner[0], p[1] + corner[1])) for p in (first, second))
            present = pixels[at_second] - pixels[at_first]
            onward, before = (at_first[0] + down, at_first[1] + right), (at_second[0] - down, at_second[1] - right)
            steps = [own_step(at_first, onward)] if first in number else []
            steps += [own_step(before, at_second)] if second in number else []
            if first in number and second in number and at_second == onward:
                steps = [present]
            steps = sorted((s for s in steps if s is not None), key=lambda s: float((s - present).square().sum()))
            wanted = steps[0] if steps else torch.zeros_like(present)
            wrong = float((wanted - present).abs().max())
            inner = first in number and second in number
            weight = max(math.exp(-((wrong / 0.25) ** 2)), 0.02) if inner else max(math.exp(-((wrong / 0.5) ** 2)), 0.001)
            if inner and smooth(at_first) and smooth(at_second):
                weight = 1.0
            for here, there, sign in ((first, second, -1), (second, first, 1)):
                if here in number:
                    matrix[number[here], number[here]] += weight
                    right_side[number[here]] += sign * weight * wanted
                    if there in number:
                        matrix[number[here], number[there]] -= weight
                    else:
                        right_side[number[here]] += weight * pixels[there[0] + corner[0], there[1] + corner[1]]
    return torch.linalg.solve(matrix, right_side)
