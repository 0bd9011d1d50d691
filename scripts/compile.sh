#!/usr/bin/env bash
# Builds the one executable.
#
#   scripts/compile.sh [--target TRIPLE] [--output FILE]
#
# TRIPLE is one that `deno compile --target` knows (default: this machine), FILE defaults to ./understudy. With denort,
# the runtime for compiled programs, at hand (downloaded by `deno compile`, or named by DENORT_BIN) the result is a
# `deno compile` executable. Otherwise it is a self-extracting file (scripts/launcher.sh) around the plain runtime,
# which npm delivers too: for every system but Windows. The last line says which was built.
# DENO names the deno to build with; by default the one on the PATH, else npm's.
set -euo pipefail

fail() {
  echo "compile.sh: $1" >&2
  exit "${2:-1}"
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deno_version=2.9.6
target="" output=$PWD/understudy
while [ $# -gt 0 ]; do
  case $1 in
    --target) target=${2:?--target needs a TRIPLE} && shift 2 ;;
    --output | -o) output=${2:?--output needs a FILE} && shift 2 ;;
    --help | -h) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" && exit 0 ;;
    *) fail "Cannot use argument \"$1\": see --help" 2 ;;
  esac
done
case $output in /*) ;; *) output=$PWD/$output ;; esac

if [ -n "${DENO:-}" ]; then
  deno=("$DENO")
elif command -v deno >/dev/null; then
  deno=(deno)
else
  deno=(npx -y "deno@$deno_version")
fi
cd "$root"
export DENO_NO_UPDATE_CHECK=1
host=$("${deno[@]}" eval 'console.log(Deno.build.target)')
target=${target:-$host}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mapfile -t workers < <(find src -name '*_worker.ts' | sort)

# Whether FILE is the whole deno, which `deno compile` would take for denort without a word.
is_whole_deno() {
  grep -aq 'Compile the script into a self contained executable' "$1"
}

compile_with_denort() {
  if [ -n "${DENORT_BIN:-}" ] && is_whole_deno "$DENORT_BIN"; then
    echo "compile.sh: DENORT_BIN names a whole deno, not denort: not used" >&2
    return 1
  fi
  local include=() worker
  for worker in "${workers[@]}"; do include+=(--include "$worker"); done
  if ! "${deno[@]}" compile --quiet --frozen --no-check --allow-all --no-prompt --target "$target" "${include[@]}" \
    --output "$scratch/compiled" main.ts 2>"$scratch/compile.log"; then
    # A missing denort is expected in closed networks; anything else must be seen.
    grep -q 'Setting up base binary' "$scratch/compile.log" && return 1
    cat "$scratch/compile.log" >&2
    return 2
  fi
  mkdir -p "$(dirname "$output")"
  if [ -e "$scratch/compiled.exe" ]; then
    case $output in *.exe) ;; *) output=$output.exe ;; esac
    mv "$scratch/compiled.exe" "$output"
  else
    mv "$scratch/compiled" "$output"
  fi
}

# Puts the plain runtime for $target into $scratch/runtime.
fetch_runtime() {
  if [ "$target" = "$host" ]; then
    "${deno[@]}" eval 'Deno.copyFileSync(Deno.execPath(), Deno.args[0])' "$scratch/runtime"
    return
  fi
  local package
  case $target in
    x86_64-unknown-linux-gnu) package=@deno/linux-x64-glibc ;;
    aarch64-unknown-linux-gnu) package=@deno/linux-arm64-glibc ;;
    x86_64-apple-darwin) package=@deno/darwin-x64 ;;
    aarch64-apple-darwin) package=@deno/darwin-arm64 ;;
    *) fail "Cannot build for $target: no denort, and a self-extracting file needs a system with /bin/sh" ;;
  esac
  command -v npm >/dev/null || fail "Cannot build for $target: no denort, and no npm to get a runtime from"
  (cd "$scratch" && npm pack --silent "$package@$deno_version" >/dev/null) ||
    fail "Cannot build for $target: no denort, and npm has no $package@$deno_version"
  tar -xzf "$scratch"/deno-*.tgz -C "$scratch"
  mv "$scratch/package/deno" "$scratch/runtime"
}

build_self_extracting() {
  fetch_runtime
  "${deno[@]}" bundle --quiet --frozen --platform deno --code-splitting --outdir "$scratch/modules" main.ts \
    "${workers[@]}" 2>"$scratch/bundle.log" || {
    cat "$scratch/bundle.log" >&2
    fail "Cannot bundle the program"
  }
  mkdir -p "$(dirname "$output")"
  "${deno[@]}" run --quiet --frozen -A scripts/self_extracting.ts "$scratch/modules" "$scratch/runtime" "$target" "$output"
}

compile_with_denort && status=0 || status=$?
how="deno compile"
if [ "$status" = 1 ]; then
  build_self_extracting # on a line of its own: set -e holds inside
  how="self-extracting file, since denort cannot be had here"
elif [ "$status" != 0 ]; then
  fail "Cannot compile: see above"
fi
echo "built $output for $target: $how"
