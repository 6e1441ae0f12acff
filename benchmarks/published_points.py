"""How far predictions with nothing fitted are from published measurements: a sample of a table, by set and metric, and error bands.

    python benchmarks/published_points.py TABLE.parquet [POINTS_PER_SET_AND_CHIP]

The table has one row per published number, rows of one operating point share `point`. Points are taken whole, as they were run: closed
loop, Poisson, all at once, one static batch, or single requests. Not taken: doubtful rows, speculation, prefill and decode apart,
conditions without parallelism (but for machines that give none), and more than 128 users. Chosen by a seeded shuffle, never by error.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import assay
from assay import api
from assay.deployments import Deployment
from assay.engines import Engine, for_family

MOST_USERS = 128
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
    """One published number beside its prediction."""

    set: str
    chip: str
    model: str
    metric: str
    statistic: str
    measured: float
    predicted: float
    resident: bool


def sample(table: Path, each: int) -> list[list[Row]]:
    """Rows by point of `each` points of every set and chip; all of chips that run as a resident pipeline."""
    kind = {name: assay.Chip.load(name).resident for name in pl.read_parquet(table)["chip"].unique().drop_nulls() if _known(name)}
    rows = pl.read_parquet(table).filter(pl.col("chip").is_in(list(kind)) & (pl.col("quality") != "D"))
    resident = pl.col("chip").is_in([name for name, is_resident in kind.items() if is_resident])
    plain = ~pl.col("speculate").fill_null(False) & ~pl.col("disaggregated").fill_null(False) & pl.col("quality").is_in(["A", "B"])
    small = pl.col("concurrency").fill_null(1) <= MOST_USERS
    rows = rows.filter(resident | (plain & small & pl.col("tp").is_not_null()))
    points = rows.select("point", "set", "chip").unique().sort("point")
    kept: list[str] = []
    for (_, chip), group in points.group_by(["set", "chip"], maintain_order=True):
        shuffled = np.random.default_rng(0).permutation(group["point"].to_list())
        kept += shuffled.tolist() if kind[str(chip)] else shuffled[:each].tolist()
    chosen = rows.filter(pl.col("point").is_in(kept))
    return [group.to_dicts() for _, group in chosen.group_by("point", maintain_order=True)]


def _known(name: str) -> bool:
    try:
        assay.Chip.load(name)
    except assay.AssayError:
        return False
    return True


def compare(rows: Sequence[Row]) -> tuple[list[Compared], str | None]:
    """Predictions for the rows of one point, or why there are none."""
    try:
        return _compare(rows), None
    except assay.AssayError as error:
        return [], str(error).split(":")[0][:70]


def _compare(rows: Sequence[Row]) -> list[Compared]:
    first = rows[0]
    chip, model = assay.Chip.load(first["chip"]), assay.Model.load(first["model"])
    run = api.simulate(model, Deployment(((chip, _asked(first, chip)),)), _workload(first)).to_dict()
    pairs = [(row, _predicted(row, run)) for row in rows]
    return [
        Compared(row["set"], chip.name, model.name, row["metric"], row["statistic"] or "", row["value"], value, chip.resident)
        for row, value in pairs
        if value
    ]


def _asked(row: Row, chip: assay.Chip) -> assay.Asked:
    engine = row["engine"] if row["engine"] and _runs(row["engine"], chip) else for_family(chip.family)[0].name
    asked = assay.Asked(engine=engine, weights=row["weights"], kv=row["kv"], prefix_cache=False, replicas=row["replicas"])
    if row["tp"] is not None:
        asked = replace(asked, **{key: row[key] for key in ("tp", "pp", "ep", "dp")})
    limits = {key: int(row[key]) for key in ("max_num_seqs", "token_budget") if row[key]}
    if row["load"] == "static":  # one batch, prefilled and decoded together
        limits = {"max_num_seqs": max(2, int(row["batch"])), "token_budget": min(131_072, int(row["batch"] * row["isl"]))}
    return replace(asked, **limits)


def _runs(engine: str, chip: assay.Chip) -> bool:
    try:
        return Engine.load(engine).runs(chip.family)
    except assay.AssayError:
        return False


def _workload(row: Row) -> assay.Workload:
    load = row["load"]
    isl, osl = (int(row[f"{name}_nominal"] if load == "closed" and row[f"{name}_nominal"] else row[name] or 0) for name in ("isl", "osl"))
    if load == "closed":
        users = int(row["concurrency"])
        spread = (row["spread_low"] or 1.0, row["spread_high"] or 1.0)
        return assay.Workload.draw(isl, osl, requests=4 * users + 40, spread=spread, concurrency=users)
    if load == "static":
        return assay.Workload.draw(isl, osl, requests=int(row["batch"]))
    if load == "offline":
        return assay.Workload.draw(isl, osl, requests=int(row["requests"] or 512))
    if load == "poisson":
        return assay.Workload.draw(isl or int(1.05 * row["isl_nominal"]), osl, requests=300, rate=row["rate"])
    return assay.Workload.draw(isl or 1024, osl or 512, requests=4, concurrency=1)


def _predicted(row: Row, run: Mapping[str, Any]) -> float | None:
    metric, statistic = row["metric"], row["statistic"] or "mean"
    if metric in ("ttft", "tpot", "itl", "e2e"):
        steady = statistic in ("mean", "p50") and not (row["load"] == "closed" and metric == "ttft" and statistic == "mean")
        return run[metric].get(statistic) if steady else None
    if metric == "output_tokens_per_second_per_user" or (metric == "output_tokens_per_second" and row["per"] == "request"):
        return 1 / run["tpot"]["mean"]
    if metric in ("output_tokens_per_second", "total_tokens_per_second", "requests_per_second"):
        return run[metric] / (run["chips"] if row["per"] == "chip" else 1)
    return None


def main(table: str, each: str = "8") -> None:
    """Print errors by set and metric, and the bands that hold 90 % of the points."""
    points = sample(Path(table), int(each))
    with ProcessPoolExecutor() as executor:
        answers = list(executor.map(compare, points, chunksize=4))
    found = pl.DataFrame([vars(row) for rows, _ in answers for row in rows])
    found = found.with_columns((pl.col("measured") / pl.col("predicted")).alias("factor"))
    found = found.with_columns(pl.col("factor").log().abs().alias("off"))
    pl.Config(tbl_rows=100, tbl_cols=20, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, float_precision=2)
    summary = (
        pl.len().alias("rows"),
        pl.col("factor").median().alias("median factor"),
        pl.col("off").median().exp().alias("median error"),
        pl.col("off").quantile(0.9).exp().alias("p90 error"),
        (pl.col("off") < np.log(2)).mean().alias("within 2x"),
        pl.col("factor").quantile(0.05).alias("low"),
        pl.col("factor").quantile(0.95).alias("high"),
    )
    print(f"{len(points)} points, {sum(not reason for _, reason in answers)} predicted; errors are factors, measured over predicted")
    print("not predicted:", dict(Counter(reason for _, reason in answers if reason).most_common(12)))
    print(found.group_by("set", "metric").agg(*summary).sort("set", "metric"))
    print(found.group_by("resident", "metric").agg(*summary).sort("resident", "metric"))
    print(found.filter("resident").select("chip", "model", "metric", "measured", "predicted", "factor"))


if __name__ == "__main__":
    main(*sys.argv[1:])
