# Every target with a "## text" is listed by make help.
.DEFAULT_GOAL := help
SHELL := bash

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
CACHE := .cache
TOOLS := $(CACHE)/bin
KUBE := $(CACHE)/kube/bin
CONTAINERD_17 := $(CACHE)/kube/containerd-1.7
LDFLAGS := -s -w -X main.version=$(VERSION)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'

# Packages whose tests run in the lab's guest (those behind the build tag lab), each in a guest of its own, for they
# change what the cards keep; LAB_GUESTS guests run at once, so the packages that take longest come first; and flags
# for the runner. Emulated processors slow each other down, so a guest has one, and two for the packages in LAB_SMP:
#   make test-lab LAB_PKGS=./pkg/link LAB_FLAGS='-run TestBond -v'
# KERNEL is the guest's: 5.10, 6.1, 6.12 or newest; empty is 6.12. CARDS is the model of its cards: igb or virtio; empty is
# igb.
LAB_PKGS ?= ./cmd/cni ./pkg/link ./test/sandbox ./test/heal ./test/chains ./test/crash ./test/bench ./test/rights ./pkg/watch ./test/peers/sriov ./test/lab/...
LAB_SMP ?= test/rights,pkg/watch
LAB_GUESTS ?= 2
LAB_FLAGS ?=
KERNEL ?= $(BONDKEEPER_LAB_KERNEL)
export BONDKEEPER_LAB_KERNEL := $(KERNEL)
CARDS ?= $(BONDKEEPER_LAB_CARDS)
export BONDKEEPER_LAB_CARDS := $(CARDS)

# Packages whose tests run against a real control plane (those behind the build tag kube), and flags for go test.
KUBE_PKGS ?= ./test/kube/... ./pkg/status/... ./test/manifests ./test/peers/multus ./test/whereabouts ./cmd/kubectl-bonds ./pkg/doctor ./test/monitoring
KUBE_FLAGS ?=

.PHONY: help
help: ## List all targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9\/-]*:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the agent and the CNI plugin into bin/
	@$(GOBUILD) -o bin/agent ./cmd/agent
	@$(GOBUILD) -o bin/bond ./cmd/cni
	@ls -l bin/agent bin/bond | awk '{ printf "%s  %.1f MB\n", $$NF, $$5 / 1e6 }'

.PHONY: kubectl-plugin
kubectl-plugin: ## Build kubectl bonds, the plugin of kubectl, as bin/kubectl-bonds
	@$(GOBUILD) -o bin/kubectl-bonds ./cmd/kubectl-bonds
	@ls -l bin/kubectl-bonds | awk '{ printf "%s  %.1f MB\n", $$NF, $$5 / 1e6 }'

# IMAGE is the name that the archive gives the image; IMAGE_ARCHS the platforms in it.
IMAGE ?= bondkeeper.io/bondkeeper:dev
IMAGE_TAR ?= bin/bondkeeper-image.tar
IMAGE_ARCHS ?= amd64,arm64
.PHONY: image
image: ## Build the container image from the Dockerfile, without Docker, into bin/bondkeeper-image.tar
	@mkdir -p $(dir $(IMAGE_TAR))
	@go run ./test/image/cmd/image -version $(VERSION) -epoch $$(git log -1 --format=%ct) -name $(IMAGE) -archs $(IMAGE_ARCHS) -o $(IMAGE_TAR)

# The registry's name of the image without its tag, which is the version, and where the files will be published.
IMAGE_REPOSITORY ?= bondkeeper.io/bondkeeper
RELEASE_URL ?= https://github.com/bondkeeper/bondkeeper/releases/download/$(VERSION)
.PHONY: release
release: $(TOOLS)/cyclonedx-gomod ## Make the files of a release in bin/release/VERSION: VERSION=v1.0.0; CHECK=1 makes them twice and compares
	@go run ./test/release/cmd/release -version $(VERSION) -epoch $$(git log -1 --format=%ct) -image $(IMAGE_REPOSITORY) -url $(RELEASE_URL) \
		-sbom $(TOOLS)/cyclonedx-gomod -o bin/release/$(VERSION) $(if $(CHECK),-check)

.PHONY: test
test: ## Run everything: lint, unit tests with the race detector, fuzzing, control plane, lab, a whole cluster; the README's test command
	@test/lanes.sh lint race fuzz kube lab kernels virtio e2e

.PHONY: test-fast
test-fast: ## Run lint, and unit tests without the race detector
	@test/lanes.sh lint unit

.PHONY: test-lab
test-lab: deps lab-programs ## Run the tests that need real bonding and real VFs, in the lab (LAB_PKGS, LAB_FLAGS, KERNEL, CARDS)
	@bin/lab test -guests $(LAB_GUESTS) -smp $(LAB_SMP) -timeout 30m $(LAB_FLAGS) $(LAB_PKGS)

.PHONY: test-kernels
test-kernels: ## Run the main lab suites on Linux 6.1, 6.12 and the newest kernel that Debian has, and print a table (90 minutes)
	@test/kernels.sh $${KERNELS:-6.1 6.12 newest}

.PHONY: test-runtimes
test-runtimes: deps lab-programs $(addprefix $(CONTAINERD_17)/,containerd containerd-shim-runc-v2 ctr) ## Run the sandbox tests on containerd 1.7; make test has 2.x
	@bin/lab test -timeout 30m -env BONDKEEPER_CONTAINERD=$(CURDIR)/$(CONTAINERD_17) $(LAB_FLAGS) ./test/sandbox

.PHONY: lab-programs
lab-programs: bin/lab bin/floor build plugins stand-ins $(KUBE)/containerd $(KUBE)/containerd-shim-runc-v2 $(KUBE)/ctr ## Build the programs that the lab's tests run

.PHONY: test-kube
test-kube: kube prometheus bin/cni/whereabouts $(TOOLS)/gotestsum ## Run the tests that need a real etcd and API server (KUBE_PKGS, KUBE_FLAGS)
	@$(TOOLS)/gotestsum --format pkgname --format-hide-empty-pkg -- -tags kube -race -timeout 20m $(KUBE_FLAGS) $(KUBE_PKGS)

.PHONY: e2e
e2e: deps kube plugins bin/cni/whereabouts stand-ins build $(TOOLS)/gotestsum ## Run a whole cluster: control plane here, a node with VFs in the lab, the agent as a DaemonSet (E2E_FLAGS='-v')
	@$(TOOLS)/gotestsum --format standard-verbose -- -tags e2e -p 2 -timeout 45m -count 1 $(E2E_FLAGS) ./test/e2e ./test/sandbox

# The real Multus and sriov-cni are not part of this repository: PEERS names a directory with their programs.
.PHONY: test-peers
test-peers: ## Run the cluster and the chains with the real Multus (thin, then thick) and sriov-cni in PEERS=DIR
	@test/peers/run.sh check "$(PEERS)"
	@$(MAKE) --no-print-directory deps kube plugins bin/cni/whereabouts stand-ins build bin/lab $(TOOLS)/gotestsum
	@test/peers/run.sh test "$(PEERS)"

.PHONY: load
load: kube ## Measure what status reporting costs the API server: LOAD=500x30 nodes x bonds (15 minutes; 20x5 is in make test)
	@BONDKEEPER_LOAD=$${LOAD:-500x30} go test -tags kube -run TestLoad -v -timeout 90m -count 1 ./pkg/status

.PHONY: crowd
crowd: deps bin/lab build plugins ## Repair and delete a bond in a pod with a million routes, 10,000 links and 10,000 addresses, with 64 MiB
	@bin/lab test -memory 2560 -timeout 20m -v -env BONDKEEPER_CROWD=1 -run TestCrowdedPod ./cmd/cni

.PHONY: walk
walk: deps bin/lab build plugins ## Take random walks on the kernel and on the fake kernel in the lab, to find differences
	@bin/lab test -timeout 20m -env BONDKEEPER_WALKS=1 -run 'TestContract/random_walk' ./pkg/link

# SEED=n or STEPS='add 0 5; unbind 0 0 0; rest' repeats one walk; SHRINK=1 looks for fewer steps that fail, which takes long.
.PHONY: soak
soak: deps bin/lab build plugins ## Take random walks over verbs and faults with several pods and bonds on real VFs, and on the fake kernel: SOAK=10m, SEED=n
	@set -o pipefail; [ -n "$(SEED)$(STEPS)" ] || BONDKEEPER_WALK_STEPS=$${WALK:-100000} BONDKEEPER_WALK_SEED=$$(date +%s) go test -count 1 -timeout 2h -v -run TestRandomWalks ./pkg/reconcile | grep -v '^=== '
	@SEED='$(SEED)' STEPS='$(STEPS)' SHRINK='$(SHRINK)' test/soak.sh $${SOAK:-10m}

.PHONY: faults
faults: deps bin/lab build plugins ## Fail each action and each system call with each error, and kill plugin and agent before each change in the lab; print counts (two hours)
	@BONDKEEPER_ALL_ERRORS=1 go test -count 1 -timeout 30m -v -run TestEveryErrorAtEveryAction ./pkg/reconcile | grep --line-buffered -v '^=== '
	@BONDKEEPER_LIVES=10000 go test -count 1 -timeout 30m -v -run 'TestLivesLeaveNoFiles|TestManyRecords' ./pkg/store | grep --line-buffered -v '^=== '
	@bin/lab test -cpus 2 -timeout 240m -v -env BONDKEEPER_KILL_STRIDE=1 -env BONDKEEPER_FAIL_STRIDE=1 ./test/crash

.PHONY: hostile
hostile: deps bin/lab build plugins ## Attack, storm and obstruct bonds at full length, and print what a hostile pod costs another bond's repair (half an hour)
	@bin/lab test -timeout 60m -v -env BONDKEEPER_HOSTILE=1 -run TestHeals ./test/heal

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## Check style, errors and which package imports which
	@$(TOOLS)/golangci-lint run ./...

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME each (default 30s), or those of FUZZ=REGEXP; print the number of inputs
	@test/fuzz.sh $${FUZZTIME:-30s} "$(FUZZ)"

.PHONY: vulncheck
vulncheck: ## Search for known vulnerabilities with govulncheck, with a database from the Go module proxy (five minutes the first time)
	@test/vulncheck.sh

.PHONY: bench
bench: ## Run the Go benchmarks that need no lab
	@go test -run '^$$' -bench . -benchmem ./pkg/...

# PEER_BOND is another bond plugin to compare with. ROUNDS and LOSSES set the numbers of samples, PARTS what to measure:
# verbs, repair, scale, storm, cards, foreign, upgrade, size. CPUS is the number of the guest's processors. With PLOTS=docs
# the plots in docs/performance are replaced.
.PHONY: bench-lab
bench-lab: deps bin/lab bin/floor build plugins ## Measure plugin and agent against what the kernel alone needs, in the lab (PEER_BOND=PROGRAM, ROUNDS, LOSSES, STORMS, BONDS, CPUS, PARTS, PLOTS=docs)
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/bench ./test/bench
	@mkdir -p $(CACHE)/bench
	@bin/lab run -cpus $${CPUS:-1} -cards 2 -vfs 4 -memory 2304 -share $(CACHE)/bench -timeout 120m -- bin/bench -out /run/lab/share -rounds $${ROUNDS:-30} -losses $${LOSSES:-500} -storms $${STORMS:-3} \
		-bonds "$${BONDS:-1,16,64,256,1024}" -parts "$(PARTS)" -peer "$(abspath $(PEER_BOND))"
	@[ "$(PLOTS)" != docs ] || { mkdir -p docs/performance && cp $(CACHE)/bench/*.svg docs/performance/; }

.PHONY: demo
demo: deps bin/lab build plugins ## Break bonds on real VFs in every way and watch them recover
	@test/demo/run.sh

.PHONY: timeline
timeline: deps bin/lab build plugins ## Draw docs/timeline.svg from one loss of a real VF and its repair
	@test/demo/run.sh -timeline /run/lab/share/timeline.svg
	@cp .cache/demo/timeline.svg docs/timeline.svg

.PHONY: lab
lab: deps bin/lab build plugins ## Boot a machine with SR-IOV cards and open a shell in it
	@bin/lab shell $(LAB_FLAGS)

.PHONY: deps
deps: ## Install what the lab needs: QEMU, small tools, a kernel (in .cache/lab); does nothing if it is complete
	@test/lab/deps.sh

.PHONY: prometheus
prometheus: $(CACHE)/prometheus/prometheus ## Unpack the Prometheus and promtool that tests run, from the Debian package (in .cache/prometheus)
$(CACHE)/prometheus/prometheus:
	@test/lab/deps.sh prometheus

.PHONY: docs
docs: ## Write the pages that are generated from the code, and the Grafana dashboard
	@go run ./docs/gen > docs/options.md
	@go run ./docs/gen/reference > docs/reference.md
	@go run ./docs/gen/schema > docs/status.schema.json
	@cd docs/gen/dashboard && go run . > $(CURDIR)/manifests/components/monitoring/dashboard.json

.PHONY: dashboard-picture
dashboard-picture: deps prometheus bin/lab build plugins ## Draw docs/dashboard.svg from a run of the demo with Prometheus in the lab (RUN=PATTERN of faults)
	@test/monitoring/picture/run.sh

.PHONY: clean
clean: ## Remove what was built; keeps the lab's downloads
	@rm -rf bin $(CACHE)/bin

.PHONY: bin/lab
bin/lab: ## Build the lab's runner: bin/lab run, test and shell
	@go build -o $@ ./test/lab/cmd/lab

.PHONY: bin/floor
bin/floor: ## Build the program that the benchmark compares the plugin with
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $@ ./test/bench/floor

# The reference CNI plugins that tests and demo call, at the version in test/tools/go.mod.
PLUGINS := main/host-device main/ptp main/loopback main/vlan main/macvlan meta/tuning meta/sbr meta/vrf ipam/host-local ipam/static ipam/dhcp
.PHONY: plugins
plugins: $(addprefix bin/cni/,$(notdir $(PLUGINS))) ## Build the reference CNI plugins that tests and demo call, into bin/cni
bin/cni/%: test/tools/go.mod
	@cd test/tools && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ \
		github.com/containernetworking/plugins/plugins/$(filter %/$*,$(PLUGINS))

.PHONY: stand-ins
stand-ins: ## Build the stand-ins for Multus and sriov-cni into bin/peers (docs/peers.md)
	@mkdir -p bin/peers
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/peers/ ./test/peers/multus ./test/peers/sriov

# whereabouts has a module of its own, with the client library of its own Kubernetes version.
bin/cni/whereabouts: test/tools/whereabouts/go.mod
	@echo "building whereabouts (two minutes, once)"
	@cd test/tools/whereabouts && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/k8snetworkplumbingwg/whereabouts/cmd

$(TOOLS)/golangci-lint: test/tools/go.mod
	@echo "building golangci-lint (two to five minutes, once)"
	@cd test/tools && go build -ldflags '-s -w' -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/gotestsum: test/tools/go.mod
	@cd test/tools && go build -ldflags '-s -w' -o $(CURDIR)/$@ gotest.tools/gotestsum

# For the SBOM of a release; without paths in it, so that it is the same everywhere.
$(TOOLS)/cyclonedx-gomod: test/tools/sbom/go.mod
	@echo "building cyclonedx-gomod (a minute, once)"
	@cd test/tools/sbom && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

# The Kubernetes that tests run for real: programs of three modules under test/tools, static, in .cache/kube/bin.
# Go's own cache makes a second build quick; the stamp makes a third one free.
KUBE_VERSION = $(shell sed -n 's|.*k8s.io/kubernetes \(v[0-9.]*\).*|\1|p' test/tools/kube/go.mod)
KUBE_LDFLAGS = -s -w -X k8s.io/component-base/version.gitVersion=$(KUBE_VERSION) -X k8s.io/client-go/pkg/version.gitVersion=$(KUBE_VERSION)
KUBE_PROGRAMS := etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet containerd containerd-shim-runc-v2 ctr
.PHONY: kube
kube: $(addprefix $(KUBE)/,$(KUBE_PROGRAMS)) ## Build the etcd, Kubernetes and containerd that tests run (15 minutes on two cores, once)
$(KUBE)/etcd: test/tools/etcd/go.mod
	@echo "building etcd (half a minute, once)"
	@cd test/tools/etcd && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ go.etcd.io/etcd/server/v3
$(KUBE)/kube%: test/tools/kube/go.mod
	@echo "building $(@F) (up to six minutes, once)"
	@cd test/tools/kube && CGO_ENABLED=0 go build -trimpath -ldflags '$(KUBE_LDFLAGS)' -o $(CURDIR)/$@ k8s.io/kubernetes/cmd/$(@F)
$(KUBE)/c%: test/tools/node/go.mod
	@echo "building $(@F) (a minute, once)"
	@cd test/tools/node && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/containerd/containerd/v2/cmd/$(@F)

$(CONTAINERD_17)/%: test/tools/node17/go.mod
	@echo "building $(@F) of containerd 1.7 (a minute, once)"
	@cd test/tools/node17 && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/containerd/containerd/cmd/$(@F)

.PHONY: tools
tools: $(TOOLS)/golangci-lint $(TOOLS)/gotestsum ## Build golangci-lint and gotestsum
