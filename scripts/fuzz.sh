#!/bin/sh
# Runs each fuzz target of each crate, or those that are named, for FUZZ_SECONDS (60 unless told): from the inputs that are
# kept (fuzz/seeds) and those of earlier runs (fuzz/corpus). One that fails leaves its input in fuzz/artifacts: once that is
# mended, keep it among the seeds, where the tests repeat it. The stable toolchain does; it is told to let
# instrumentation through.
set -eu
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
export RUSTC_BOOTSTRAP=1
for folder in crates/*/fuzz; do
	(
		cd "$folder/.."
		# The versions of the workspace, and those of what only the fuzzer needs.
		[ -e fuzz/Cargo.lock ] || cp ../../Cargo.lock fuzz/Cargo.lock
		for target in $(cargo fuzz list); do
			case " ${*:-$target} " in *" $target "*) ;; *) continue ;; esac
			mkdir -p "fuzz/corpus/$target" "fuzz/seeds/$target"
			echo "== ${PWD##*/}: $target, ${seconds} s"
			cargo fuzz run --sanitizer "${FUZZ_SANITIZER:-none}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
				-max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
		done
	)
done
