# make demo   start the page on this machine
# make space DIR=…   lay out a Hugging Face Space in that folder; PUSH=OWNER/NAME uploads it
# make try    fill docs/try, the page that needs no server (needs npm)
# make test   run every test
# make lint   check style, spelling, prose, zoo.json and CITATION.cff
# Each needs only Python 3.11 and make: it builds its own environment in .venv the first time.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo space try test lint clean

demo: $(VENV)/.app
	$(BIN)/python spaces/app.py

space: $(VENV)/.app
	$(BIN)/facesym space $(DIR) $(if $(PUSH),--push $(PUSH))

try: $(VENV)/.dev
	$(BIN)/python docs/try/build.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/codespell
	$(BIN)/proselint check --config .proselintrc.json *.md */*.md
	$(BIN)/check-jsonschema --schemafile zoo.schema.json zoo.json
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

# A stamp file per set of packages: nothing is installed again until what it lists has changed.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -c requirements.txt -e ".[app]"
	touch $@

$(VENV)/.dev: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -c requirements.txt -e ".[dev]"
	touch $@ $(VENV)/.app

clean:
	rm -rf $(VENV)
