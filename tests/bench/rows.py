"""What the engine benchmark measures: the rows of its tables, by size. bench_engine.py says what a row holds."""

SIZES = ((256, 256), (512, 512), (1024, 1024))
LARGE = (2700, 3300)
NEIGHBOURS = (1, 3, 8)
SCHEDULES = (("scan", 5), ("jump-flood", 5), ("scan", 10), ("jump-flood", 15))
EXACT_SIDE = 256  # the exact sweep's time grows with the fourth power of the side


def psal_rows(size: tuple[int, int], device: str, quick: bool) -> list[dict]:
    """Both dtypes at k = 3, float32 at the other k. The exact rows come first: they are the truth for the others."""
    others = [] if quick or size == LARGE else [k for k in NEIGHBOURS if k != 3]
    exact = () if max(size) > EXACT_SIDE else sorted([3, *others]) if size == SIZES[0] else (3,)
    cases = [("exact", 0, k, "float32") for k in exact]
    for k, dtype in ((3, "float32"), (3, "float16"), *((k, "float32") for k in others)):
        # Above the first size: the schedules as a user meets them by default.
        for schedule, iterations in SCHEDULES if size == SIZES[0] else SCHEDULES[:2] if dtype == "float32" else SCHEDULES[:1]:
            if schedule != "scan" or device == "cpu":
                cases.append((schedule, iterations, k, dtype))
    if size == SIZES[0] and device == "cpu":
        cases.append(("scan", 15, 3, "float32"))  # what the recall of .90 costs
    names = ("schedule", "iterations", "k", "dtype")
    rows = [{"method": "psal", **dict(zip(names, case, strict=True))} for case in cases]
    for row in rows:
        row["name"] = f"psal {row['schedule']}" + (f", {row['iterations']} iterations" if row["iterations"] else "")
    return rows


def rival_rows(size: tuple[int, int], device: str, quick: bool) -> list[dict]:
    """What fits: SDPA and faiss over whole patches hold 3 kB a key."""
    side = max(size)
    rows = [{"name": "torch, all keys in chunks, k best", "method": "full"}]
    if size != LARGE:
        rows.append({"name": "torch SDPA over patches", "method": "sdpa"})
    if device == "cpu" and size != LARGE:
        for pca in (True,) if quick or side > EXACT_SIDE else (False, True):
            for nprobe in (4,) if quick or side > EXACT_SIDE else (1, 4, 16):
                name = f"faiss {'PCA32 + IVF + re-rank' if pca else 'IVF'}, nprobe {nprobe}"
                rows.append({"name": name, "method": "faiss", "pca": pca, "nprobe": nprobe})
        rows.append({"name": "plain planar PatchMatch, 5 iterations", "method": "planar", "iterations": 5})
    return [{**row, "k": 3, "dtype": "float32"} for row in rows]
