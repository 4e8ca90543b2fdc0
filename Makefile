# Every target says after ## what it does; `make` alone prints them.
# Demo and tests share one cargo profile and one set of features, so that one compilation serves both.
.DEFAULT_GOAL := help
.PHONY: help demo test soak fuzz differential nightly bench install lint fmt docs plugins golden servers clean-servers
CARGO ?= cargo
FEATURES := tidegate/failpoints
# Guest code: workspaces of their own, because they are built for another machine.
GUESTS := plugins sdk/rust
TARGET = $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
GUEST_TARGET = $(TARGET)/guests

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

demo: plugins ## replay the recorded MySQL binlog through a plugin into SQLite
	$(CARGO) build --quiet --workspace --features $(FEATURES)
	examples/demo/run.sh

test: plugins golden servers ## run every test; gets the servers that they need
	$(CARGO) build --quiet --workspace --features $(FEATURES)
	$(CARGO) test --quiet --locked --manifest-path sdk/rust/Cargo.toml --target-dir $(GUEST_TARGET)
	for folder in sdk/c/template plugins/number/c; do scripts/toolchains/c-wasm.sh test $$folder || exit 1; done
	for folder in sdk/javascript/test sdk/javascript/template sdk/javascript/template-typescript plugins/number/javascript; do \
	  scripts/toolchains/js-wasm.sh test $$folder || exit 1; \
	done
	for folder in sdk/python/tests sdk/python/template plugins/number/python; do scripts/toolchains/python-wasm.sh test $$folder || exit 1; done
	for folder in sdk/go/template plugins/number/go; do scripts/toolchains/go-wasm.sh test $$folder || exit 1; done
	$(CARGO) test --workspace --features $(FEATURES)

soak: plugins servers ## twenty minutes a server of random DDL and DML, followed and killed (SOAK_SECONDS=N for N)
	$(CARGO) build --quiet --workspace --features $(FEATURES)
	TIDEGATE_SOAK_SECONDS=$(or $(SOAK_SECONDS),1200) $(CARGO) test --package tidegate-tests -- soak:: --nocapture

fuzz: ## read ten million mutated binlogs, and as many mutated statements (FUZZ_INPUTS=N for N)
	TIDEGATE_FUZZ_INPUTS=$(or $(FUZZ_INPUTS),10000000) $(CARGO) test --release --package tidegate --lib fuzz -- --nocapture

differential: ## decode recorded binlogs beside mysqlbinlog and mysql_cdc, and write docs/differential.md; needs libssl-dev and pkg-config
	$(CARGO) build --quiet --package tidegate
	$(CARGO) build --quiet --locked --release --manifest-path bench/peers/mysql-cdc/Cargo.toml --target-dir $(TARGET)/bench/peers
	scripts/differential.py --peer $(TARGET)/bench/peers/release/peer-mysql-cdc --report docs/differential.md $(TARGET)/debug/tidegate

nightly: plugins servers ## what takes too long for every day: one transaction of 4 GiB
	$(CARGO) build --quiet --workspace --features $(FEATURES)
	TIDEGATE_LARGE_TRANSACTION_MIB=4096 $(CARGO) test -p tidegate-tests order::large -- --nocapture

bench: ## measure Tidegate beside its rivals and write docs/benchmarks.md; needs go, mvn and a JDK as well
	bench/run

install: ## install tidegate into ~/.cargo/bin
	$(CARGO) install --quiet --locked --path runtime

lint: ## formatting, clippy, and the rules for dependencies
	$(CARGO) fmt --check
	for guest in $(GUESTS); do $(CARGO) fmt --all --check --manifest-path $$guest/Cargo.toml || exit 1; done
	$(CARGO) clippy --quiet --workspace --all-targets --features $(FEATURES) -- -D warnings
	$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings
	for guest in $(GUESTS); do \
	  $(CARGO) clippy --quiet --locked --all-targets --manifest-path $$guest/Cargo.toml --target-dir $(GUEST_TARGET) -- -D warnings || exit 1; \
	done
	scripts/deny.sh

fmt: ## format all Rust code
	$(CARGO) fmt
	for guest in $(GUESTS); do $(CARGO) fmt --all --manifest-path $$guest/Cargo.toml; done

docs: ## build the API documentation into target/doc
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --workspace

plugins: ## build plugins/* into target/plugins/*.wasm
	scripts/toolchains/rust-wasm.sh plugins

golden: ## build those of plugins/* that are there in other languages into target/plugins/*-LANGUAGE.wasm
	scripts/toolchains/js-wasm.sh plugins
	scripts/toolchains/python-wasm.sh plugins
	scripts/toolchains/c-wasm.sh plugins
	scripts/toolchains/go-wasm.sh plugins

servers: ## unpack the databases that tests and benchmarks start, and what tests let loose on them
	scripts/servers/mysql.sh install
	scripts/servers/mariadb.sh install
	scripts/servers/postgres.sh install
	scripts/servers/percona-toolkit.sh install
	scripts/servers/sysbench.sh install

clean-servers: ## stop and remove every server of this checkout
	scripts/servers/clean.sh
