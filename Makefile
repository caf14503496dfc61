# make test runs everything; what it needs beyond Go and Node (Chromium, npm
# packages) it installs itself, by Debian's packages and the npm registry.

GO ?= go
FUZZTIME ?= 3s
MODULES = . sqlstore redisstore examples examples/otel examples/fosite examples/peers
# staticcheck: its version is in tools/go.mod, which no workspace may see.
TOOL = GOWORK=off $(GO) tool -modfile=$(CURDIR)/tools/go.mod

.PHONY: test stores lint deps race short fuzz bench crash million sizes tidy api conformance quickstart model abuse timing mutants

test: deps
	@for m in $(MODULES); do (cd $$m && $(GO) test -race -timeout 10m ./...) || exit 1; done
	$(GO) test ./internal/derive ./resource # allocations are counted without the race detector
	@.ci/stores

# the tests of the core on SQLite, PostgreSQL, MariaDB and Redis
stores: deps
	@.ci/stores

# the core alone, without browser, npm and database servers
short:
	$(GO) test $$($(GO) list ./... | grep -v /internal/servertest)

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	@for m in $(MODULES); do (cd $$m && $(GO) vet ./... && GOWORK=off $(GO) mod tidy -diff) || exit 1; done
	@for m in $(MODULES); do (cd $$m && $(TOOL) staticcheck ./...) || exit 1; done
	@cd tools && GOWORK=off $(GO) vet ./... && GOWORK=off $(GO) mod tidy -diff && GOWORK=off $(GO) test ./mutants

deps:
	@.ci/deps

# every fuzz target for FUZZTIME each: a time (30s) or a number of inputs (5000x)
fuzz:
	@.ci/fuzz $(FUZZTIME)

# random sequences against the model of an authorization: MODEL of them
MODEL ?= 50000
model:
	$(GO) test -run TestModel -count=1 -timeout 2h -v . -rapid.checks $(MODEL)

# floods, with a million client ids, and what the heap grew by
abuse:
	@dir=$$(mktemp -d) && $(GO) test -run TestAbuse -count=1 -timeout 60m -v . -flood 1000000 -heaps $$dir && $(GO) tool pprof -top -diff_base $$dir/before.pb.gz $$dir/after.pb.gz && echo "profiles in $$dir"

# what time tells strangers: pairs of requests whose answers are alike
timing:
	$(GO) test -run '^$$' -bench Timing -benchtime 1x -count=1 -timeout 60m . -pairs 20000

# the library broken on purpose, one line at a time: some test has to notice
mutants:
	cd tools && GOWORK=off nice -n 19 $(GO) run ./mutants -C ..

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# processes of examples/cluster killed 100 times under load, on PostgreSQL and on Redis
crash: deps
	cd examples && $(GO) test -race -count=1 -timeout 30m -v -run TestCrash ./cluster -crashes 100

tidy:
	@for m in $(MODULES) tools; do (cd $$m && GOWORK=off $(GO) mod tidy) || exit 1; done

# refreshes and their floor with a million authorizations in the store
million: deps
	cd sqlstore && $(GO) test -run '^$$' -bench Refresh/./8 -benchtime 10000x -timeout 60m . -fill 1000000
	cd redisstore && $(GO) test -run '^$$' -bench Refresh/./8 -benchtime 10000x -timeout 60m . -fill 1000000

# bytes of a live authorization in each store, for docs/storage.md
sizes: deps
	cd examples && $(GO) test -run '^$$' -bench LiveAuthorization -benchtime 1x -timeout 30m ./docs

# rewrite the listing of the exported API, to be read in review
api:
	$(GO) test -run TestHouseAPI . -update

# rewrite docs/conformance.md: it has line numbers
conformance:
	$(GO) test -run 'TestConformance$$' . -update

quickstart:
	$(GO) run ./examples/quickstart
