"""Build RECIPES.md from the examples: each one's first words, then its code. `--check` only compares."""

import ast
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parent / "RECIPES.md"
ORDER = [
    "first_steps",
    "save_and_reopen",
    "images_from_a_folder",
    "camera_vote",
    "forget_and_undo",
    "correct_a_label",
    "merge_two_devices",
    "own_embeddings",
    "how_well_is_it_known",
    "choose_a_head",
    "say_unknown",
    "notice_drift",
    "start_from_the_factory",
    "learn_a_number",
    "start_from_other_tasks",
    "watch_from_another_process",
    "pin_a_bundle",
    "bounded_memory",
    "train_and_export",
    "export_your_own",
    "wrap_a_model",
]


def recipe(name: str) -> str:
    """One example as a chapter."""
    source = (HERE / f"{name}.py").read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source)) or ""
    title, _, rest = text.partition("\n")
    head, _, more = title.partition(": ")
    body = source.split('"""', 2)[2].strip()
    first = f"{more[:1].upper()}{more[1:]}" if more else ""
    words = "\n".join(part for part in (first, rest.strip("\n")) if part).strip()
    return f"## {head.rstrip('.')}\n\n`examples/{name}.py`\n\n{words}\n\n```python\n{body}\n```\n".replace(
        "\n\n\n\n", "\n\n"
    )


def recipes() -> str:
    """The whole page."""
    missing = {p.stem for p in HERE.glob("*.py")} - {"make_recipes"} - set(ORDER)
    assert not missing, f"not in ORDER: {missing}"
    head = "# Recipes\n\nMade from `examples/` by `make recipes`; every one runs as it is.\n\n"
    return head + "\n".join(recipe(name) for name in ORDER)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.read_text(encoding="utf-8") == recipes() else "RECIPES.md is old: run make recipes")
    TARGET.write_text(recipes(), encoding="utf-8")
