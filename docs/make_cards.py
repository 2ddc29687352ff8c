"""Write the card of each model in zoo.json to docs/cards/.

python docs/make_cards.py
"""

from pathlib import Path

from facesym import zoo
from facesym.card import model_card

CARDS = Path(__file__).resolve().parent / "cards"


def main():
    """Write the cards, and delete those of models that are not in zoo.json."""
    cards = {f"{entry['id']}.md": model_card(entry, in_zoo=True) for entry in zoo.list_models()}
    CARDS.mkdir(exist_ok=True)
    for path in CARDS.glob("*.md"):
        if path.name not in cards:
            path.unlink()
    for name, text in cards.items():
        (CARDS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
