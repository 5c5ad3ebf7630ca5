# Two commands matter: `make up` and `make test`. Each sets up all it needs, and may be repeated.
.DEFAULT_GOAL := help
.PHONY: help up test coverage lab bare lint bench lock clean
MAKEFLAGS += --no-print-directory

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

up: ## install what is missing, build the image, run a VM and a command in it
	@packaging/host.sh packaging/host-packages.txt
	@packaging/environment.sh base
	@packaging/link.sh add
	@packaging/up.sh

test: ## install what is missing and run all tests (ARGS="-k name" to choose)
	@packaging/test.sh $(ARGS)

coverage: ## run all tests and measure which lines they run, which takes half as long again
	@packaging/test.sh --cov --cov-report=term

lint: ## only the linters, the import contracts and the other rules of style
	@packaging/environment.sh test
	@.venv/bin/python -m pytest -q tests/style

lab: ## restore a host with real Firecracker, device-mapper and nested KVM, and a shell in it
	@packaging/host.sh packaging/host-packages.txt packaging/test-packages.txt
	@packaging/environment.sh test
	@.venv/bin/python -m tests.lab shell

bench: ## measure banger against the same work done by hand
	@packaging/host.sh packaging/host-packages.txt
	@packaging/environment.sh test
	@.venv/bin/python -m bench $(ARGS)

bare: ## run `make up` and `make test` inside a fresh minimal Debian, as root and as a user
	@packaging/bare.sh

lock: ## compute the pinned requirements anew
	@packaging/environment.sh test
	@.venv/bin/python -m pip install --quiet pip-tools
	@packaging/lock.sh --upgrade

clean: ## remove the environment and what tests and builds left (VMs and images stay)
	@packaging/link.sh remove
	@rm -rf .venv build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis
