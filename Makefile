# Strata. `make help` lists the targets; everything they need beyond Go is
# installed by the targets that need it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BINARIES := strata strata-node strata-container strata-kubestate strata-app
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
V        := github.com/prometheus/common/version
LDFLAGS  := -s -w -X $(V).Version=$(VERSION) -X $(V).Revision=$(shell git rev-parse HEAD 2>/dev/null || echo unknown) -X $(V).Branch=$(shell git rev-parse --abbrev-ref HEAD 2>/dev/null || echo unknown)
# Tests need no cloud's service discovery; leaving them out halves their build.
TESTTAGS := remove_all_sd,enable_kubernetes_sd
ARGS     ?=

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# $(call debian,command,packages): installs Debian packages unless the command is there.
debian = command -v $(1) >/dev/null || { echo "installing $(2)"; $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $(2) >/dev/null; }

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## build, then measure this host: exporters, pipeline and page (Ctrl-C ends it)
	bin/strata up $(ARGS)

.PHONY: build
build: go ## build all binaries into bin/
	CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(BINARIES:%=./cmd/%)

.PHONY: go
go:
	@command -v go >/dev/null || { echo "Go is missing: install Go 1.26 or newer, see https://go.dev/doc/install" >&2; exit 1; }

.PHONY: test
test: build test-go test-web ## all tests but the cluster's: Go with the race detector, page in a browser

.PHONY: test-go
test-go: go
	@$(call debian,gcc,gcc libc6-dev)
	go test -race -tags $(TESTTAGS) ./...

.PHONY: test-web
test-web: build web/node_modules
	@$(call debian,chromium,chromium)
	cd web && npm run check && npm test && npm run test:browser

web/node_modules: web/package.json web/package-lock.json
	@$(call debian,npm,nodejs npm)
	cd web && npm ci --no-audit --no-fund
	@touch $@

.PHONY: web
web: web/node_modules ## rebuild the page that is embedded
	cd web && npm run build

.PHONY: generate
generate: go ## make the Go code of KEDA's protocol from its .proto file
	@$(call debian,protoc,protobuf-compiler)
	@mkdir -p bin/protoc
	go build -o bin/protoc/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	cd pipeline/keda/externalscaler && PATH="$(CURDIR)/bin/protoc:$$PATH" protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative externalscaler.proto

.PHONY: cluster-tools
cluster-tools:
	@$(call debian,containerd,containerd runc)
	@$(call debian,conntrack,containernetworking-plugins iptables nftables conntrack iproute2)

.PHONY: e2e
e2e: build cluster-tools web/node_modules ## tests on a real Kubernetes on this machine (root)
	@$(call debian,chromium,chromium)
	cd test/e2e && go test -p 1 -count=1 -timeout 60m -v $(ARGS) ./...

.PHONY: chaos
chaos: build cluster-tools ## break one thing after the other on a real Kubernetes, 20 times each (root)
	cd test/e2e && STRATA_CHAOS_ROUNDS=$${STRATA_CHAOS_ROUNDS:-20} go test -count=1 -timeout 120m -v -run '^TestChaos$$' $(ARGS) .

.PHONY: compat-apis
compat-apis: build cluster-tools ## metrics APIs against recorded answers of what they replace, and their clients (root)
	@command -v python3 >/dev/null && python3 -c 'import requests' 2>/dev/null || { $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends python3 python3-requests curl >/dev/null; }
	cd test/compat && go test -count=1 -timeout 20m -v -skip '^TestKubestate$$' $(ARGS) ./...

.PHONY: compat-kubestate
compat-kubestate: build ## strata-kubestate against what kube-state-metrics said of the same objects in a real API server (root)
	@$(call debian,ip,iproute2)
	cd test/compat && go test -count=1 -timeout 20m -v -run '^TestKubestate$$' $(ARGS) .

.PHONY: compat-container
compat-container: build-bench-container ## strata-container against cAdvisor, every group, series by series, on the same busy cgroups (root)
	bin/bench/containers -compare $(ARGS)

.PHONY: cluster
cluster: go cluster-tools ## leave a real Kubernetes running for you (make cluster ARGS=down ends it)
	cd test/e2e && go run ./cmd/cluster $(or $(ARGS),up)

.PHONY: demo
demo: go cluster-tools ## the story: from a request to a new pod, with commentary
	cd test/e2e && go run ./cmd/cluster demo $(ARGS)

.PHONY: bench-apis
bench-apis: build cluster-tools ## measure the metrics APIs beside metrics-server and behind a real API server, 15 minutes (root)
	cd test/bench/metricsserver && CGO_ENABLED=0 go build -trimpath -o ../../../bin/bench/metrics-server sigs.k8s.io/metrics-server/cmd/metrics-server
	cd test/bench/metricsserver && CGO_ENABLED=0 go build -trimpath -o ../../../bin/bench/metrics-server-store .
	cd test/bench && CGO_ENABLED=0 go build -trimpath -o ../../bin/bench/apis ./apis
	cd test/e2e && go run ./cmd/aggregation
	bin/bench/apis -root . -metrics-server bin/bench/metrics-server -metrics-server-store bin/bench/metrics-server-store $(ARGS)

.PHONY: bench-node
bench-node: build-bench-node ## measure strata-node beside node_exporter on this host, a minute
	bin/bench/nodehost $(ARGS)

.PHONY: build-bench-node
build-bench-node: go
	CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/strata-node
	cd test/bench/nodeexporter && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../../../bin/bench/node_exporter github.com/prometheus/node_exporter
	cd test/bench && CGO_ENABLED=0 go build -trimpath -o ../../bin/bench/nodehost ./nodehost

.PHONY: bench-container
bench-container: build-bench-container ## measure strata-container beside cAdvisor on cgroups made for it, 16 minutes (root)
	bin/bench/containers $(ARGS)

.PHONY: build-bench-container
build-bench-container: go
	CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/strata-container
	cd test/bench/cadvisor && CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w' -o ../../../bin/bench/cadvisor .
	cd test/bench && CGO_ENABLED=0 go build -buildvcs=false -trimpath -o ../../bin/bench/containers ./containers

.PHONY: bench-kubestate
bench-kubestate: build-bench-kubestate ## measure strata-kubestate on 10,000 pods, two minutes (PODS=50000; API=real fills a real API server, root)
ifeq ($(API),real)
	@$(call debian,ip,iproute2)
	cd test/e2e && go run ./cmd/controlplane ../../bin/bench/kubestate -strata-kubestate ../../bin/strata-kubestate -kubeconfig {kubeconfig} $(if $(PODS),-pods $(PODS)) $(ARGS)
else
	bin/bench/kubestate $(if $(PODS),-pods $(PODS)) $(ARGS)
endif

.PHONY: soak-kubestate
soak-kubestate: build-bench-kubestate ## ten minutes of 200 changes a second, broken watches and 410: memory, and no change missed (SOAK=2m)
	bin/bench/kubestate -soak $(or $(SOAK),10m) $(if $(PODS),-pods $(PODS)) $(ARGS)

.PHONY: build-bench-kubestate
build-bench-kubestate: go
	CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/strata-kubestate
	cd test/bench && CGO_ENABLED=0 go build -buildvcs=false -trimpath -o ../../bin/bench/kubestate ./kubestate

.PHONY: bench-freshness
bench-freshness: build cluster-tools ## from a burst of load to the first answer that shows it, on a real Kubernetes (root; BURSTS, INTERVALS)
	cd test/bench/metricsserver && CGO_ENABLED=0 go build -trimpath -o ../../../bin/bench/metrics-server sigs.k8s.io/metrics-server/cmd/metrics-server
	cd test/e2e && go run ./cmd/freshness

.PHONY: verify
verify: go web/node_modules ## format, vet, lint, tidiness, generated files; each failure says its repair
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not formatted, run gofmt -w on: $$out" >&2; exit 1; }
	go vet -tags $(TESTTAGS) ./...
	go tool staticcheck -tags $(TESTTAGS) ./...
	go tool revive -config revive.toml -set_exit_status ./...
	cd test/e2e && go vet ./...
	cd test/compat && go vet ./...
	cd test/compat/client && go vet . && go vet -modfile=previous.mod .
	cd test/bench && go vet ./...
	cd test/bench/cadvisor && go vet .
	@go mod tidy -diff || { echo "run: go mod tidy" >&2; exit 1; }
	@$(MAKE) --no-print-directory generate
	@git diff --exit-code --stat -- pipeline/keda/externalscaler || { echo "the code of KEDA's protocol is not that of its .proto file: commit the result of make generate" >&2; exit 1; }
	cd web && npm run build
	@git diff --exit-code --stat -- pipeline/page/dist || { echo "the embedded page is not the build of web/: commit the result of make web" >&2; exit 1; }

.PHONY: clean
clean: ## remove what was built
	rm -rf bin data web/node_modules web/test-output
