"""Full-ranking quality of every backbone on a corpus, beside what its authors or others published.

    python benchmarks/quality.py movielens-100k
    python benchmarks/quality.py $SEQMEND_DATA/movielens-1m --backbones sasrec lrurec
    python benchmarks/quality.py $SEQMEND_DATA/amazon-beauty-2014 --shuffle-ties

Leave-one-out, whole catalogue, history left out, best epoch on validation. Settings are the same for every seed and
were chosen on validation. A corpus is a known name or a folder with interactions.parquet and items.parquet. In
amazon-beauty-2014 nearly half of all steps stay within one day, whose items are sorted by their id: a model that learns
this order ranks the last item by it. `--shuffle-ties` puts interactions of one time in random order.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from seqmend.allocator import arrange_allocator
from seqmend.study import RunConfig, train_backbone
from seqmend.study.machine import describe_machine

# NDCG@10 and HR@10 in the table of LRURec's official README: full ranking, leave-one-out.
PUBLISHED = {
    "movielens-1m": {
        "gru4rec": (0.1693, 0.2962),
        "sasrec": (0.1902, 0.3181),
        "bert4rec": (0.1638, 0.3089),
        "fmlprec": (0.1530, 0.2907),
        "lrurec": (0.1930, 0.3264),
    },
    "amazon-beauty-2014": {
        "gru4rec": (0.0200, 0.0338),
        "sasrec": (0.0292, 0.0504),
        "bert4rec": (0.0242, 0.0468),
        "fmlprec": (0.0252, 0.0462),
        "lrurec": (0.0309, 0.0528),
    },
}

AVERAGED = {"learning_rate": 1e-3, "ema_decay": 0.999, "validate_every": 2, "patience": 10, "epochs": 100}
LONG = AVERAGED | {"batch_size": 32, "validate_every": 3, "patience": 9, "epochs": 60}
SHORT = AVERAGED | {"batch_size": 128}
INSTANCES = AVERAGED | {"batch_size": 512, "validate_every": 1, "patience": 5, "epochs": 40}


def settings(corpus: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Backbone and training settings of every backbone for a corpus of long or of short histories."""
    is_long, is_short = corpus == "movielens-1m", corpus == "amazon-beauty-2014"
    length, many = (200, LONG) if is_long else (50, SHORT if is_short else LONG)
    dropout = 0.2 if is_long else 0.5
    decay = {"weight_decay": 0.01, "clip_norm": 5.0}
    last_five = {"encoder": {"name": "sasrec", "max_length": 5, "dropout": 0.2}}
    return {
        "sasrec": (
            {"max_length": length, "dropout": dropout, "inner_size": 256 if is_long else None},
            many | {"weight_decay": 0.01 if is_long else 0.0},
        ),
        "lrurec": (
            {"max_length": length, "dropout": dropout},
            many | decay | ({"learning_rate": 2e-3} if is_long else {}),
        ),
        "gru4rec": ({"max_length": length, "dropout": dropout}, many | ({"learning_rate": 2e-3} if is_long else {})),
        "bert4rec": (
            {"max_length": length, "dropout": 0.3, "mask_ratio": 0.4, "last_only": 0.2},
            many | {"epochs": 200, "validate_every": 4, "patience": 20},
        ),
        "fmlprec": ({"max_length": 50, "dropout": 0.5}, INSTANCES | {"batch_size": 256}),
        "caser": ({"max_length": 5, "dropout": 0.5}, INSTANCES),
        "birdrec": (last_five, INSTANCES | {"batch_size": 1024, "weight_decay": 0.01, "patience": 15, "epochs": 100}),
        "berd": (last_five, INSTANCES),
        "steam": ({}, many | {"clip_norm": 5.0, "epochs": 200, "validate_every": 4, "patience": 20}),
        "hsd": ({"max_length": 20}, INSTANCES),
        "ssdrec": ({"max_length": 20}, INSTANCES),
    }


def measure(corpus: str, backbone: str, seeds: int, shuffle_ties: bool, folder: Path) -> dict[str, Any]:
    """Mean metrics over seeds on the test targets."""
    place = Path(corpus)
    data: dict[str, Any] = {"corpus": corpus}
    if place.is_dir():
        data = {"interactions": str(place / "interactions.parquet"), "items": str(place / "items.parquet")}
    if place.is_dir() and shuffle_ties:
        mixed = folder / "shuffled.parquet"  # equal times keep the order of the file
        pl.read_parquet(place / "interactions.parquet").sample(fraction=1, shuffle=True, seed=0).write_parquet(mixed)
        data["interactions"] = str(mixed)
    sizes, training = settings(place.name)[backbone]
    sizes = {key: value for key, value in sizes.items() if value is not None}
    config = RunConfig.from_dict(
        {"data": data, "backbone": {"name": backbone, **sizes}, "training": training, "seeds": tuple(range(seeds))},
        "benchmarks/quality.py",
    )
    metrics = train_backbone(config, folder / "run")
    names = ("ndcg@10", "hr@10", "ndcg@20", "hr@20", "mrr")
    values = {name: [arm["metrics"][name] for arm in metrics["arms"]] for name in names}
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    return {
        "backbone": backbone,
        "seeds": seeds,
        **{name: round(float(np.mean(value)), 5) for name, value in values.items()},
        "seconds": round(float(np.mean([stage["seconds"] for stage in manifest["stages"]]))),
        "published": PUBLISHED.get(place.name, {}).get(backbone),
        "settings": {"backbone": sizes, "training": training},
    }


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="a known name, or a folder")
    parser.add_argument("--backbones", nargs="+", default=list(settings("")))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--shuffle-ties", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    arrange_allocator()
    results: dict[str, Any] = {"machine": describe_machine(), "corpus": Path(options.corpus).name, "backbones": []}
    for backbone in options.backbones:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(options.corpus, backbone, options.seeds, options.shuffle_ties, Path(folder))
        results["backbones"].append(row)
        print(json.dumps({key: value for key, value in row.items() if key != "settings"}), flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
