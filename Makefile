# Every target with a "## text" is listed by make help.
.DEFAULT_GOAL := help
SHELL := bash

# Packages whose tests run in the lab's guest (those behind the build tag lab), and flags for the runner:
#   make test-lab LAB_PKGS=./pkg/link LAB_FLAGS='-run TestBond -v'
LAB_PKGS ?= ./test/lab/...
LAB_FLAGS ?=

.PHONY: help
help: ## List all targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## Install what the lab needs: QEMU, small tools, a kernel (in .cache/lab); does nothing when all is there
	@test/lab/deps.sh

.PHONY: bin/lab
bin/lab:
	@go build -o $@ ./test/lab/cmd/lab

.PHONY: lab
lab: deps bin/lab ## Boot a machine with SR-IOV cards and open a shell in it
	@bin/lab shell $(LAB_FLAGS)

.PHONY: test-lab
test-lab: deps bin/lab ## Run the tests that need real bonding and real VFs, in the lab (LAB_PKGS, LAB_FLAGS)
	@bin/lab test $(LAB_FLAGS) $(LAB_PKGS)
