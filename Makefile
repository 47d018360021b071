# Plimsoll's commands. `make` alone prints them, from the words after `##` below.
#
# Everything is linked statically, so that a program of ours runs inside any root file system and on any kernel.
# The target is named even though it is this machine: then the flags do not reach build scripts and procedural
# macros, which cannot be static, and tests, lints and the release share one set of flags.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build test prove fuzz lint bench kernels demo install uninstall clean FORCE
MAKEFLAGS += --no-print-directory

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR = $(DESTDIR)$(PREFIX)/bin
SHAREDIR = $(DESTDIR)$(PREFIX)/share

# A cargo that is new enough, wherever it is (setup.sh brings one where it can), and the commands of the private tree.
export PATH := $(shell policy-tests/setup/toolchain.sh 2>/dev/null | sed 's/$$/:/')$(shell . policy-tests/setup/lib.sh; echo "$$PATH")
# Run at first use, so that `make help` needs no compiler and `make setup` may bring one.
HOST = $(eval HOST := $$(shell rustc -vV | sed -n 's/^host: //p'))$(HOST)
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
RELEASE = $(TARGET_DIR)/$(HOST)/release
export RUSTFLAGS := -C target-feature=+crt-static
CARGO_FLAGS = --locked --target $(HOST)

# One tool per folder below tools/ that has a main.rs: tools/run is plim-run, tools/plim is plim itself. A folder with more than
# one tool has the others in src/bin: tools/check is plim-check, plim-lock and plim-policy.
TOOLS := $(patsubst plim-plim,plim,$(patsubst tools/%/src/main.rs,plim-%,$(wildcard tools/*/src/main.rs))) \
	$(basename $(notdir $(wildcard tools/*/src/bin/plim-*.rs)))

help: ## print this
	@echo 'Plimsoll: shows, proves and enforces how much of the Linux kernel a container can reach.'
	@echo
	@sed -n -E 's/^([a-z]+):.*## (.*)$$/\1\t\2/p' Makefile | \
		while IFS=$$'\t' read -r name words; do printf '  make %-9s %s\n' "$$name" "$$words"; done

setup: ## install what building and testing need (Debian or Ubuntu, as root); name what is missing elsewhere
	@policy-tests/setup/setup.sh test

# Each goal below sets up in a first step and runs `make` again: the compiler may be new.
build: ## build the tools as static release programs
	@policy-tests/setup/setup.sh build
	@$(MAKE) release
	@echo "built $(TOOLS) in $$($(MAKE) -s where)"

demo: ## the class exercise with the real tcpdump and the real kernel (as root)
	@policy-tests/setup/setup.sh demo
	@$(MAKE) release
	@PATH="$$(realpath "$$($(MAKE) -s where)"):$$PATH" policy-tests/demo/demo.sh

test: ## set up, lint and run every test: unit, table, end to end on this kernel and on 6.1 in a VM
	@policy-tests/setup/setup.sh test
	@$(MAKE) checked
checked: FORCE
	@policy-tests/setup/test.sh $(ONLY)

prove: ## what `make test` proves, at full length: each promise broken on purpose, ten million calls asked of this kernel, ten minutes of work traced, 500 starts raced, programs shrunk
	@policy-tests/setup/setup.sh test
	@policy-tests/setup/test.sh prove calls work starts shrink

fuzz: ## every parser on mutated inputs from a new seed, which is printed (FUZZ_SECONDS=60 in all)
	@policy-tests/setup/setup.sh build
	@PLIM_FUZZ_TOTAL=$(or $(FUZZ_SECONDS),60) policy-tests/setup/fuzz.sh

lint: ## formatting, clippy, shellcheck, cargo-deny
	@policy-tests/setup/lint.sh

bench: ## measure the start of a container beside bare calls and runc, filters beside libseccomp, tracing beside empty programs (KERNELS='6.1 newest': what trace --light costs there, too)
	@policy-tests/setup/setup.sh test
	@$(MAKE) release
	@# Copies, as install makes them: what a linker has written lies in single pages, and starts a tenth slower.
	@bin=$$(mktemp -d) && trap 'rm -rf "$$bin"' EXIT && \
		find "$$(realpath "$$($(MAKE) -s where)")" -maxdepth 1 -name 'plim*' -type f -perm -u+x -exec cp -t "$$bin" {} + && \
		PATH="$$bin:$$PATH" plim-bench $(ARGS)
	@$(if $(KERNELS),policy-tests/kernels/run.sh --bench --programs "$$(realpath "$$($(MAKE) -s where)")" $(KERNELS))

kernels: ## run the end-to-end suite on each kernel that users have (ONLY='5.10 newest', REFRESH=1 looks for newer ones)
	@policy-tests/setup/setup.sh test
	@$(MAKE) release
	@policy-tests/kernels/run.sh $(if $(REFRESH),--refresh) --launcher both --programs "$$(realpath "$$($(MAKE) -s where)")" \
		--limits "$$($(MAKE) -s limits-tests)" $(ONLY)
	@# Where the tracer runs: from Linux 5.15 on.
	@policy-tests/kernels/run.sh --security selinux --filter trace/selinux --programs "$$(realpath "$$($(MAKE) -s where)")" \
		$(filter-out 5.10,$(or $(ONLY),6.1 6.12 newest))

install: ## install tools, man pages and shell completions below PREFIX (/usr/local; DESTDIR is honoured)
	@test -x $(RELEASE)/plim || $(MAKE) release
	@install -d $(BINDIR) $(SHAREDIR)/man/man1 $(SHAREDIR)/bash-completion/completions \
		$(SHAREDIR)/zsh/site-functions $(SHAREDIR)/fish/vendor_completions.d
	@set -e; for tool in $(TOOLS); do \
		install -m 755 $(RELEASE)/$$tool $(BINDIR)/$$tool; \
		$(RELEASE)/$$tool --generate man >$(SHAREDIR)/man/man1/$$tool.1; \
		$(RELEASE)/$$tool --generate bash >$(SHAREDIR)/bash-completion/completions/$$tool; \
		$(RELEASE)/$$tool --generate zsh >$(SHAREDIR)/zsh/site-functions/_$$tool; \
		$(RELEASE)/$$tool --generate fish >$(SHAREDIR)/fish/vendor_completions.d/$$tool.fish; \
	done
	@echo 'installed $(TOOLS) in $(BINDIR)'

uninstall: ## remove what install put there
	@for tool in $(TOOLS); do rm -f $(BINDIR)/$$tool $(SHAREDIR)/man/man1/$$tool.1 \
		$(SHAREDIR)/bash-completion/completions/$$tool $(SHAREDIR)/zsh/site-functions/_$$tool \
		$(SHAREDIR)/fish/vendor_completions.d/$$tool.fish; done

clean: ## remove what was built (downloaded kernels stay in their cache)
	@rm -rf $(TARGET_DIR)

# For the goals above and the scripts; not in the help.
release: FORCE
	@policy-tests/setup/cargo.sh 'release build' build --release $(CARGO_FLAGS) --workspace --bins
	@# Also where one looks for what cargo built for this machine.
	@install -d $(TARGET_DIR)/release && ln -f $(addprefix $(RELEASE)/,$(TOOLS)) $(TARGET_DIR)/release/
unit: FORCE
	@policy-tests/setup/cargo.sh 'unit tests' test $(CARGO_FLAGS) --workspace --no-fail-fast $(if $(UNIT_FLAGS),-- $(UNIT_FLAGS))
unit-programs: FORCE
	@policy-tests/setup/cargo.sh 'build of the unit tests' test $(CARGO_FLAGS) --workspace --no-run
live: FORCE
	@policy-tests/setup/cargo.sh 'live tests' test $(CARGO_FLAGS) -p plim-seccomp --test live -- --nocapture rules_diagram_program_and_kernel_agree
fuzz-targets: FORCE
	@policy-tests/setup/cargo.sh 'fuzz targets' test $(CARGO_FLAGS) $(PACKAGES) --tests --no-fail-fast -- --nocapture --test-threads=1 fuzz_
clippy: FORCE
	@policy-tests/setup/cargo.sh clippy clippy $(CARGO_FLAGS) --workspace --all-targets -- $(CLIPPY_FLAGS)
limits-tests: FORCE # prints the program; built as the unit tests are
	@policy-tests/setup/cargo.sh 'build of the limits tests' test $(CARGO_FLAGS) --package plim-runtime --lib --no-run --message-format=json | \
		sed -n -E 's/.*"executable":"([^"]+)".*/\1/p'
where: FORCE
	@echo $(RELEASE)
