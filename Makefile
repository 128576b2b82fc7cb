# The one place with command lines; `make help` lists them. What takes more than a few lines is in embedded/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Settings: ports and place of the private cluster, and whose PostgreSQL to build for.
export AB_PG_PORT ?= 54329
export AB_HTTP_PORT ?= 8080
export AB_HOME ?= .ab
export PG_CONFIG ?= $(shell embedded/prepare pg_config)

TARGET := $(or $(CARGO_TARGET_DIR),target)
LIBRARY := $(TARGET)/release/libpg_ab.so
VERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" sql/pg_ab.control)
SCRIPT := $(TARGET)/sql/pg_ab--$(VERSION).sql
EMBEDDED := $(TARGET)/release/ab-embedded

# Asked only when a recipe needs them: the server may be installed by an earlier step of the same make.
MAJOR = $(shell $(PG_CONFIG) --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
EXTENSION = -p pg_ab --no-default-features --features pg$(MAJOR)
FOR_SERVER = PGRX_PG_CONFIG_PATH="$$(command -v $(PG_CONFIG))"
# One choice of packages for building and testing alike: cargo merges the features of their dependencies, and another
# choice would compile them anew.
PACKAGES = --workspace --exclude pg_ab

## run      everything: build, a private PostgreSQL, the gateway and a demo experiment; Ctrl-C stops it
.PHONY: run
run: ports build
	@"$(EMBEDDED)" run

## up       the same cluster and gateway in the background, without the demo
.PHONY: up
up: ports build
	@"$(EMBEDDED)" up

## down     stops them
.PHONY: down
down: embedded
	@"$(EMBEDDED)" down

## env      prints DATABASE_URL and AB_URL for scripts: eval "$(make env)"
.PHONY: env
env: embedded
	@"$(EMBEDDED)" env

## psql     opens psql in the database of the private cluster
.PHONY: psql
psql: embedded
	@"$(EMBEDDED)" psql

## demo     runs another demo experiment against what `make up` started
.PHONY: demo
demo: embedded
	@"$(EMBEDDED)" demo

## build    the extension, its install script, the gateway and what runs them
.PHONY: build
build: deps $(SCRIPT)
	@cargo build --release $(PACKAGES) --bin ab-gateway --bin ab-embedded
	@$(MAKE) $(LIBRARY)

## install  installs the extension into the server of PG_CONFIG; honours DESTDIR
.PHONY: install
install: $(LIBRARY) $(SCRIPT) install-files

## test     lint, then all tests
.PHONY: test
test: deps-test lint build
	cargo test --release $(PACKAGES)

## lint     rustfmt, clippy, rustdoc, format of the SQL, shellcheck where it is installed
.PHONY: lint
lint: deps-test
	cargo fmt --all --check
	cargo clippy --quiet $(PACKAGES) --all-targets -- -D warnings
	$(FOR_SERVER) cargo clippy --quiet $(EXTENSION) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps $(PACKAGES)
	$(FOR_SERVER) RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps $(EXTENSION)
	sql/format --check
	if command -v shellcheck >/dev/null; then shellcheck embedded/prepare sql/assemble docker/initialise.sh .ci/run; fi

## format   formats Rust and SQL
.PHONY: format
format:
	cargo fmt --all
	sql/format

## bench    the benchmarks behind the figures in the README
.PHONY: bench
bench: deps-bench build
	@cargo build --release $(PACKAGES) --bins
	@$(TARGET)/release/ab-benches

## bench-pipeline  events at a steady rate with the roll-up and assignment beside them; takes minutes (AB_PIPELINE_SECONDS, AB_PIPELINE_RATE)
.PHONY: bench-pipeline
bench-pipeline: build
	@cargo build --release $(PACKAGES) --bins
	@$(TARGET)/release/pipeline

## bench-growth  what a roll-up costs with a million events stored and with fifty million; takes half an hour (AB_GROWTH_EVENTS)
.PHONY: bench-growth
bench-growth: build
	@cargo build --release $(PACKAGES) --bins
	@$(TARGET)/release/growth

## calibration  simulates every statistical method and prints the table of docs/statistics.md; nightly, takes some minutes
.PHONY: calibration
calibration:
	@cargo run --quiet --release --package ab-core --example calibration

## special  holds the special functions to mpmath on 100,000 random arguments and prints each one's worst error; nightly, takes some minutes
.PHONY: special
special:
	@cargo build --quiet --release --package ab-core --example special_functions
	@python3 -m venv $(TARGET)/special
	@$(TARGET)/special/bin/pip install --quiet mpmath==1.4.1 gmpy2 scipy==1.17.1 statsmodels==0.15.0
	@$(TARGET)/special/bin/python tests/vectors/statistics/special.py check

## clean    removes what was built; the private cluster stays (make down && rm -rf .ab removes that)
.PHONY: clean
clean:
	cargo clean

.PHONY: help
help:
	@sed -n 's/^## /make /p' Makefile

# --- what the targets above are made of

.PHONY: ports
ports:
	@embedded/prepare ports

.PHONY: deps
deps:
	@embedded/prepare packages

.PHONY: deps-test
deps-test:
	@embedded/prepare packages test

.PHONY: deps-bench
deps-bench:
	@embedded/prepare packages bench

.PHONY: embedded
embedded:
	@[ -x "$(EMBEDDED)" ] || { echo "nothing has been built here yet: run make up" >&2; exit 1; }

# Rebuilt only when a source is newer, so that `make && sudo make install` does not need cargo in root's path.
$(LIBRARY): $(TARGET)/server-version $(shell find core/src extension/src core/Cargo.toml extension/Cargo.toml) Cargo.lock
	@$(FOR_SERVER) cargo build --release $(EXTENSION)
	@touch $@

# The library fits one major version of the server and has one name: cargo must not take one for another.
$(TARGET)/server-version: FORCE
	@mkdir -p $(TARGET)
	@echo "$(MAJOR)" | cmp -s - $@ || { \
		rm -f $(LIBRARY) $(TARGET)/release/deps/libpg_ab.so; \
		echo "$(MAJOR)" > $@; \
	}

$(SCRIPT): sql/assemble $(wildcard sql sql/*.sql sql/schema sql/functions sql/views sql/*/*.sql)
	@mkdir -p $(@D)
	@rm -f $(@D)/*
	@sql/assemble > $@.draft
	@cp sql/upgrade/*.sql $(@D) 2>/dev/null || true
	@mv $@.draft $@

# Copies what is built already; the private cluster installs by this too.
.PHONY: install-files
install-files:
	@install -d "$(DESTDIR)$(shell $(PG_CONFIG) --pkglibdir)" "$(DESTDIR)$(shell $(PG_CONFIG) --sharedir)/extension"
	install -m 755 $(LIBRARY) "$(DESTDIR)$(shell $(PG_CONFIG) --pkglibdir)/pg_ab.so"
	install -m 644 sql/pg_ab.control $(TARGET)/sql/pg_ab--*.sql "$(DESTDIR)$(shell $(PG_CONFIG) --sharedir)/extension"

.PHONY: FORCE
FORCE:
