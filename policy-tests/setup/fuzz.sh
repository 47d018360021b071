#!/usr/bin/env bash
# Every parser on mutated inputs, for a time: fuzz.sh      (SECONDS is bash's own, so the time is PLIM_FUZZ_TOTAL, in seconds: 60)
#
# The targets are the tests named fuzz_…, which `make test` runs with a fixed number of inputs from seed 1. Here each gets its
# part of the time and another seed, which is printed: PLIM_FUZZ_SEED repeats a run, with PLIM_FUZZ_ROUND one input of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

mapfile -t manifests < <(grep -l '^plim-fuzz = ' {profiles,runtime,tools}/Cargo.toml {profiles,runtime,tools}/*/Cargo.toml 2>/dev/null)
targets=$(grep -rE --include='*.rs' '^[[:space:]]*fn fuzz_' profiles runtime tools | wc -l)
total=${PLIM_FUZZ_TOTAL:-60}
export PLIM_FUZZ_SECONDS=$((total > targets ? total / targets : 1))
export PLIM_FUZZ_SEED=${PLIM_FUZZ_SEED:-$(date +%s)}
echo "fuzz: $targets targets, $PLIM_FUZZ_SECONDS s each, seed $PLIM_FUZZ_SEED (PLIM_FUZZ_SEED=$PLIM_FUZZ_SEED make fuzz does the same again)"
packages=()
for manifest in "${manifests[@]}"; do
	# The first name is the package's; tests and programs have names, too.
	packages+=(--package "$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1)")
done
make -s fuzz-targets PACKAGES="${packages[*]}"
