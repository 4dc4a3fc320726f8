"""What a descent takes: which prompts a race asks about how many rows, and how much is asked in all."""

from math import ceil, log2

from seqmend.menders.correct.config import TextualGradientConfig

_STAGES = ("start", "errors", "reasons", "edits", "memory", "selection", "validation", "paraphrases", "test")


def race_plan(n_prompts: int, beam: int, n_rows: int, race: bool = True) -> list[tuple[int, int]]:
    """How many prompts are left in each round of a race, and on how many rows they are compared then.

    Successive halving: the worse half goes, and those that stay are compared on twice as many rows, until the beam is
    ranked on all of them. Without a race all prompts are compared on all rows.

    >>> race_plan(16, 4, 100)
    [(16, 25), (8, 50), (4, 100)]
    """
    if not race:
        return [(n_prompts, n_rows)]
    n_halvings = ceil(log2(max(n_prompts / beam, 1)))
    plan: list[tuple[int, int]] = []
    for round_ in range(n_halvings + 1):
        plan.append((n_prompts, ceil(n_rows / 2 ** (n_halvings - round_))))
        n_prompts = max(beam, ceil(n_prompts / 2))
    return plan


def forecast_descent(
    config: TextualGradientConfig,
    n_start: int,
    n_train: int,
    n_validation: int,
    n_test: int,
    with_memory: bool = False,
) -> dict[str, int]:
    """The most that a descent asks of the model, by stage: questions and texts, each one call.

    It is less where a prompt errs nowhere, rewrites nothing, comes back, or meets rows again, where rewritten summaries
    concern few validation rows, and where patience ends it. Per epoch the official code's is 240 for errors, 32 for
    reasons and edits, 1,600 for selection, 8 for paraphrases and 800 for test (LLM4RSR, section 7 of our account of
    it).

    Args:
        config: Of the descent.
        n_start: Prompts that it starts from.
        n_train: Training rows.
        n_validation: Validation rows.
        n_test: Test rows.
        with_memory: Summaries are told, and rewritten.
    """
    is_paper = config.mode == "paper"
    found: dict[str, int] = dict.fromkeys(_STAGES, 0)
    found["start"] = n_start * n_validation
    pool, n_errors, n_select = n_start, min(config.n_error_rows, n_train), min(config.n_select_rows, n_train)
    pairs = config.n_memory_pairs if with_memory else 0
    for _ in range(config.epochs):
        found["errors"] += pool * n_errors
        found["reasons"] += 2 * pool
        found["edits"] += 2 * pool
        found["memory"] += pairs if is_paper else pairs * (2 + n_validation)
        seen = 0
        for n_prompts, n_rows in race_plan(2 * pool, config.beam, n_select, config.race):
            found["selection"] += n_prompts * (n_rows - seen)
            seen = n_rows
        beam = min(config.beam, 2 * pool)
        found["validation"] += beam * n_validation
        found["paraphrases"] += 2 * beam
        pool = 2 * beam
        found["test"] += pool * n_test if is_paper else 0
    found["test"] += n_test if is_paper else 2 * n_test
    return found
