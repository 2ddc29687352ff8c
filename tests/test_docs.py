"""The pages in Markdown: links that lead somewhere, images that a package index can show."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("train/*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    text = page.read_text()
    headings = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"(?m)^#+ (.+)$", text)
    }
    for link in LINK.findall(text):
        if link.startswith("#"):
            assert link[1:] in headings, link
        elif not link.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / link.split("#")[0]).exists(), link


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 120


def test_readme_on_a_package_index_has_absolute_links():
    import tomllib

    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]
    text = (ROOT / "README.md").read_text()
    for rule in hook["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    links = [link for link in LINK.findall(text) if not link.startswith("#")]
    assert links and all(link.startswith("https://") for link in links)


def test_the_version():
    import facesym

    assert re.search(r"(?m)^## (.+)$", (ROOT / "CHANGELOG.md").read_text())[1] == facesym.__version__
    assert not re.search(r"(?m)^version\b", (ROOT / "pyproject.toml").read_text())
    assert f"\nversion: {facesym.__version__}\n" in (ROOT / "CITATION.cff").read_text()
