"""psal and its rivals on one pair of feature maps, each behind the same four names.

A method is built from a row's description (see bench_engine.py), query and key, both [1, C, H, W], and has
    prepare()   what is done once for a pair of pictures, or nothing; timed
    run()       the search or the attention itself; timed
    share       the part of all queries that run() looks at: its time is divided by it
    copies      whether run() copies its inputs into another layout
    matches()   (queries, found) of the last run, flat positions [m] and [m, k] in the picture, or None
    work()      {"distances", "flop", "bytes"} of the last run, whatever of it is known; bytes: of key patches compared with
Rivals start from the same feature maps as psal, so cutting out patches is part of their time. They look only at
queries whose whole patch lies inside the picture; psal also searches the border.
"""

import ctypes

import numpy as np
import torch
import torch.nn.functional as F

from psal_cli import native, ops

PATCH = 7
RADIUS = PATCH // 2
SEED = 0


class Method:
    share = 1.0
    copies = False  # whether it takes a copy of its inputs, in another layout

    def __init__(self, row: dict, query: torch.Tensor, key: torch.Tensor):
        self.row, self.query, self.key, self.k = row, query, key, row["k"]
        self.channels, self.height, self.width = query.shape[1:]
        self.rows, self.columns = self.height - PATCH + 1, self.width - PATCH + 1  # of whole patches

    def prepare(self):
        pass

    def matches(self):
        return None

    def work(self) -> dict:
        return {}

    def flat(self, patches: np.ndarray) -> np.ndarray:
        """Numbers of whole patches, in raster order, as flat positions in the picture; -1 stays -1."""
        return np.where(patches < 0, -1, (patches // self.columns + RADIUS) * self.width + patches % self.columns + RADIUS)


class Psal(Method):
    copies = True

    def run(self):
        self.nnf, self.best = ops.search(
            self.query, self.key, PATCH, self.k, self.row["iterations"], schedule=self.row["schedule"], seed=SEED
        )

    def matches(self):
        nnf = self.nnf[0].cpu().numpy().astype(np.int64)  # [k, 2, H, W]
        keys = (nnf[:, 0] * self.width + nnf[:, 1]).reshape(self.k, -1).T
        return np.arange(self.height * self.width), keys

    def work(self):
        """An iterated search is repeated on the counting build; an exact one compares all keys, by box sums."""
        if self.row["schedule"] == "exact":
            pairs = self.height * self.width * self.rows * self.columns
            flop = pairs * (3 * self.channels + 2 * RADIUS + 2)
            return {"distances": pairs, "flop": flop, "bytes": pairs * self.channels * 4}
        if not self.row.get("counter"):
            return {}
        query, key = (x.cpu().permute(0, 2, 3, 1).contiguous() for x in (self.query, self.key))
        field = np.empty((self.height * self.width, self.k), np.uint32)
        best = np.empty(field.shape, np.float32)
        place = native.Place(torch.get_num_threads(), 0, None)
        args = native.SearchArgs(
            place, native.DTYPES[query.dtype], native.SIMILARITIES["l2"], native.SCHEDULES[self.row["schedule"]],
            1, self.channels, self.height, self.width, self.height, self.width, PATCH, self.k, self.row["iterations"], 0, SEED,
            query.data_ptr(), key.data_ptr(), None, None, None, None, field.ctypes.data, best.ctypes.data, None,
        )  # fmt: skip
        counts = (ctypes.c_int64 * 2)()
        ctypes.CDLL(self.row["counter"]).count_search(ctypes.byref(args), counts)
        same = np.mean((field >> 16).astype(np.int64) * self.width + (field & 0xFFFF) == self.matches()[1])
        terms = counts[1]
        work = {"distances": counts[0], "flop": 3 * terms, "bytes": terms * query.element_size()}
        return {**work, "counted_on_same_field": float(same)}


def patches_of(picture: torch.Tensor) -> torch.Tensor:
    """[1, C, H, W] -> a view [H - 6, W - 6, C, 7, 7] of all whole patches; reshape copies those it is given."""
    return picture[0].unfold(1, PATCH, 1).unfold(2, PATCH, 1).permute(1, 2, 0, 3, 4)


def vectors(view: torch.Tensor) -> torch.Tensor:
    """[..., C, 7, 7] -> [n, C * 49], copied."""
    return view.reshape(-1, view.shape[-3] * PATCH * PATCH)


def nearest(queries: torch.Tensor, key: torch.Tensor, k: int, chunk: int = 16384) -> torch.Tensor:
    """[m, k]: numbers of the whole key patches with the least squared distance, by matrix products over chunks of keys."""
    view = patches_of(key)
    rows = max(1, chunk // view.shape[1])
    best = queries.new_full((len(queries), k), -torch.inf)
    nearest_keys = torch.zeros((len(queries), k), dtype=torch.int64, device=queries.device)
    for top in range(0, view.shape[0], rows):
        keys = vectors(view[top : top + rows])
        score = torch.addmm(-keys.square().sum(1), queries, keys.T, alpha=2)  # minus the distance, but for |query|^2
        value, index = score.topk(min(k, len(keys)), dim=1)
        best, order = torch.cat([best, value], 1).topk(k, dim=1)
        nearest_keys = torch.cat([nearest_keys, index + top * view.shape[1]], 1).gather(1, order)
    return nearest_keys


class TorchRival(Method):
    """Evenly spread queries in chunks of 1000, all of them or as many as `flop_budget` pays for."""

    def __init__(self, row, query, key):
        super().__init__(row, query, key)
        total = self.rows * self.columns
        taken = min(total, max(256, int(row["flop_budget"] / self.flop_per_query())))
        self.queries = np.linspace(0, total - 1, taken).round().astype(np.int64)
        self.share = taken / total

    def chunks(self):
        view = patches_of(self.query)
        for start in range(0, len(self.queries), 1000):
            at = torch.from_numpy(self.queries[start : start + 1000]).to(view.device)
            yield vectors(view[at // self.columns, at % self.columns])

    def work(self):
        return {"distances": len(self.queries) * self.rows * self.columns, "flop": len(self.queries) * self.flop_per_query()}


class FullAttention(TorchRival):
    """All keys for each query, the k best kept: torch matrix products over chunks."""

    def flop_per_query(self):
        return 2 * self.channels * PATCH**2 * self.rows * self.columns

    def run(self):
        self.nearest_keys = [nearest(chunk, self.key, self.k) for chunk in self.chunks()]

    def matches(self):
        return self.flat(self.queries), self.flat(torch.cat(self.nearest_keys).cpu().numpy())


class Sdpa(TorchRival):
    """torch's scaled_dot_product_attention over patch vectors, all keys weighed by softmax(-squared distance).

    2 q.k - |k|^2 is minus the squared distance but for |q|^2, which a softmax does not see: one more entry in each
    vector says it. The values are the key patches too, because torch's memory-saving kernel wants them of that
    length: on the CPU it is twice as fast as the other one with the 16 channels of the centre pixel.
    """

    def flop_per_query(self):
        return 4 * (self.channels * PATCH**2 + 1) * self.rows * self.columns

    def prepare(self):
        view = patches_of(self.key)
        keys = self.key.new_empty((self.rows, self.columns, self.channels * PATCH**2 + 1))
        for row in range(self.rows):  # one copy, no second one to append the last entry
            keys[row, :, :-1] = view[row].flatten(1)
            keys[row, :, -1] = keys[row, :, :-1].square().sum(1)
        self.keys = keys.flatten(0, 1)[None, None]

    def run(self):
        for chunk in self.chunks():
            queries = F.pad(chunk * 2, (0, 1), value=-1.0)[None, None]
            F.scaled_dot_product_attention(queries, self.keys, self.keys, scale=1.0)


class Faiss(Method):
    """An inverted file (IVF) over key patches: nearest of 2 sqrt(n) cells, `nprobe` of them searched.

    With `pca` the inverted file holds 32 principal components and 8 k candidates are ranked again by their whole
    patches (IndexRefine). k-means and the principal components are learnt from samples, as faiss does by default
    (39 points a cell); patches are fed in chunks, so that memory holds one copy of the key patches, the index.
    """

    dimensions = 32

    def prepare(self):
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        whole, keys = self.channels * PATCH**2, self.rows * self.columns
        cells = min(round(2 * keys**0.5), keys // 39)
        sample = self.sample(39 * cells)
        dimensions = self.dimensions if self.row["pca"] else whole
        quantiser = faiss.IndexFlatL2(dimensions)
        self.file = faiss.IndexIVFFlat(quantiser, dimensions, cells)
        self.file.nprobe = self.row["nprobe"]
        self.parts = [quantiser, self.file]  # faiss's Python objects own these; IndexRefine and PreTransform only point to them
        if self.row["pca"]:
            pca = faiss.PCAMatrix(whole, dimensions)
            pca.train(sample[:: max(1, len(sample) // (10 * whole))])
            self.file.train(pca.apply(sample))
            base, flat = faiss.IndexPreTransform(pca, self.file), faiss.IndexFlatL2(whole)
            base.is_trained = True
            self.index = faiss.IndexRefine(base, flat)
            self.index.k_factor = 8
            self.parts += [pca, base, flat]
        else:
            self.file.train(sample)
            self.index = self.file
        del sample  # before the index grows
        for _, chunk in self.chunks(self.key):
            self.index.add(chunk)

    def chunks(self, picture: torch.Tensor):
        view = patches_of(picture)
        rows = max(1, 8192 // self.columns)
        for top in range(0, self.rows, rows):
            yield top, vectors(view[top : top + rows]).numpy()

    def sample(self, size: int) -> np.ndarray:
        """About `size` key patches, evenly spread."""
        step = max(1, self.rows * self.columns // size)
        at = torch.arange(0, self.rows * self.columns, step)
        return vectors(patches_of(self.key)[at // self.columns, at % self.columns]).numpy()

    def run(self):
        self.nearest_keys = np.empty((self.rows * self.columns, self.k), np.int64)
        for top, chunk in self.chunks(self.query):
            start = top * self.columns
            self.nearest_keys[start : start + len(chunk)] = self.index.search(chunk, self.k)[1]

    def matches(self):
        return self.flat(np.arange(len(self.nearest_keys))), self.flat(self.nearest_keys)


class Planar(Method):
    """planar_patchmatch.cpp: the reference repository's PatchMatch as a plain planar scalar loop."""

    def run(self):
        self.position = np.empty((self.height * self.width, self.k), np.int32)
        cost = np.empty(self.position.shape, np.float32)
        self.counts = (ctypes.c_int64 * 2)()
        pointer = ctypes.c_void_p
        ctypes.CDLL(self.row["planar"]).planar_patchmatch(
            pointer(self.query.data_ptr()), pointer(self.key.data_ptr()), self.channels, self.height, self.width,
            self.height, self.width, RADIUS, self.k, self.row["iterations"], ctypes.c_uint64(SEED), torch.get_num_threads(),
            pointer(self.position.ctypes.data), pointer(cost.ctypes.data), self.counts,
        )  # fmt: skip

    def matches(self):
        return np.arange(len(self.position)), self.position.astype(np.int64)

    def work(self):
        terms = self.counts[1] * PATCH
        return {"distances": self.counts[0], "flop": 3 * terms, "bytes": 4 * terms}


METHODS = {"psal": Psal, "full": FullAttention, "sdpa": Sdpa, "faiss": Faiss, "planar": Planar}
